/* SPDX-License-Identifier: Apache-2.0 */
#include "waypoint/sniff.h"

#include <string.h>

#include "t.h"

static const struct row {
    const char *bytes;
    enum sniffed open; /* on a port that says nothing */
    enum sniffed http; /* on one that says HTTP */
} rows[] = {
    {"", SNIFF_MORE, SNIFF_MORE},
    {"P", SNIFF_MORE, SNIFF_MORE},
    {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r", SNIFF_MORE, SNIFF_MORE},
    {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", SNIFF_H2, SNIFF_H2},
    {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0", SNIFF_H2, SNIFF_H2},
    {"PRI * HTTP/2.1", SNIFF_TCP, SNIFF_H1},
    {"GET / HTTP/1.1\r\n", SNIFF_H1, SNIFF_H1},
    {"GET / HTTP/1.", SNIFF_H1, SNIFF_H1},
    {"GET / HTTP/1", SNIFF_MORE, SNIFF_H1},
    {"GET /", SNIFF_MORE, SNIFF_H1},
    {"GET", SNIFF_MORE, SNIFF_H1},
    {"PURGE-IT http://a/ HTTP/1.0\r\n", SNIFF_H1, SNIFF_H1},
    {"OPTIONS * HTTP/1.1", SNIFF_H1, SNIFF_H1},
    {"GET  / HTTP/1.1", SNIFF_TCP, SNIFF_H1},
    {" GET / HTTP/1.1", SNIFF_TCP, SNIFF_H1},
    {"GET / HTTP/2.0\r\n", SNIFF_TCP, SNIFF_H1},
    {"GET /\r\n", SNIFF_TCP, SNIFF_H1}, /* HTTP/0.9 is not spoken */
    {"HELO mail.example\r\n", SNIFF_TCP, SNIFF_H1},
    {"SELECT 1 FROM x", SNIFF_TCP, SNIFF_H1},
    {"*1\r\n$4\r\nPING\r\n", SNIFF_TCP, SNIFF_H1},
    {"\x16\x03\x01", SNIFF_TCP, SNIFF_H1},
    {"GET /\x80 HTTP/1.1", SNIFF_TCP, SNIFF_H1},
    {"ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFGHIJ / HTTP/1.1", SNIFF_TCP, SNIFF_H1},
};

TEST(first_bytes_say_what_a_connection_speaks)
{
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        size_t len = strlen(rows[i].bytes);
        if (sniff(rows[i].bytes, len) != rows[i].open ||
            sniff_http(rows[i].bytes, len) != rows[i].http) {
            test_fail(t, __FILE__, __LINE__, rows[i].bytes);
            return;
        }
    }
}

TEST(nobody_is_asked_for_more_for_ever)
{
    static char line[SNIFF_BYTES_MAX];

    memset(line, 'a', sizeof(line));
    memcpy(line, "GET /", 5);
    CHECK_INT(sniff(line, sizeof(line) - 1), SNIFF_MORE);
    CHECK_INT(sniff(line, sizeof(line)), SNIFF_TCP);
}

/* What was said of a beginning is never taken back by what follows. */
TEST(an_answer_stays)
{
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        enum sniffed before = SNIFF_MORE;
        for (size_t n = 0; n <= strlen(rows[i].bytes); n++) {
            enum sniffed now = sniff(rows[i].bytes, n);
            CHECK(before == SNIFF_MORE || now == before);
            before = now;
        }
    }
}
