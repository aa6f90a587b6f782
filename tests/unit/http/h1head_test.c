/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/h1head.h"

#include "chunk_feed.h"
#include "t.h"

/* What is said of a head: "METHOD path authority length|chunked flags", or the error. */
struct row {
    const char *head;
    int result;
    const char *path;
    const char *authority;
    uint64_t length;
    bool chunked;
    bool close;
};

#define H "Host: a\r\n"

static const struct row rows[] = {
    {"GET / HTTP/1.1\r\n" H "\r\n", 0, "/", "a", 0, false, false},
    {"GET /x?y=1 HTTP/1.1\r\nhost:a:80\r\n\r\n", 0, "/x?y=1", "a:80", 0, false, false},
    {"GET / HTTP/1.1\r\nHOST: \t [::1]:80 \t\r\n\r\n", 0, "/", "[::1]:80", 0, false, false},
    {"GET http://b/x HTTP/1.1\r\n" H "\r\n", 0, "/x", "b", 0, false, false},
    {"GET HTTPS://b:9/ HTTP/1.1\r\n" H "\r\n", 0, "/", "b:9", 0, false, false},
    {"OPTIONS * HTTP/1.1\r\n" H "\r\n", 0, "*", "a", 0, false, false},
    {"CONNECT b:1 HTTP/1.1\r\n" H "\r\n", 0, "", "b:1", 0, false, false},
    {"GET / HTTP/1.0\r\n\r\n", 0, "/", "", 0, false, true},
    {"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", 0, "/", "", 0, false, true},
    {"GET / HTTP/1.1\r\n" H "Connection: foo , Close\r\n\r\n", 0, "/", "a", 0, false, true},
    {"POST / HTTP/1.1\r\n" H "Content-Length: 0007\r\n\r\n", 0, "/", "a", 7, false, false},
    {"POST / HTTP/1.1\r\n" H "Transfer-Encoding: Chunked\r\n\r\n", 0, "/", "a", 0, true, false},
    {"GET / HTTP/1.1\r\n" H "x:\r\n\r\n", 0, "/", "a", 0, false, false},
    {"GET / HTTP/1.1\r\n" H "x: \xc3\xa9\tz\r\n\r\n", 0, "/", "a", 0, false, false},
    {"GET / HTTP/1.1\r\n" H "Connection: ,, te , Upgrade,\r\n\r\n", 0, "/", "a", 0, false, false},
    {"GET / HTTP/1.1\r\n" H "Connection: x-mine\r\n\r\n", 0, "/", "a", 0, false, false},
    {"GET / HTTP/1.1\r\nHost: A-b_c.~!$&'()*+;=%41:65535\r\n\r\n", 0, "/",
     "A-b_c.~!$&'()*+;=%41:65535", 0, false, false},
    {"GET / HTTP/1.1\r\nHost: a:0\r\n\r\n", 0, "/", "a:0", 0, false, false},
    {"GET / HTTP/1.1\r\nHost: [fe80::1]\r\n\r\n", 0, "/", "[fe80::1]", 0, false, false},
    {"CONNECT [::1]:443 HTTP/1.1\r\n" H "\r\n", 0, "", "[::1]:443", 0, false, false},
    {"ABCDEFGHIJKLMNOPQRSTUVWXYZ-_.~!| / HTTP/1.1\r\n" H "\r\n", 0, "/", "a", 0, false, false},
    {"GET / HTTP/1.1\r\n" H "under_score: x\r\n\r\n", 0, "/", "a", 0, false, false},
    {"GET / HTTP/1.1\r\n" H "Expect: tea\r\n\r\n", 0, "/", "a", 0, false, false},
    {"GET / HTTP/1.1\r\n" H "Upgrade: h2c\r\nContent-Length: 1\r\n\r\n", 0, "/", "a", 1, false,
     false},
    {"DELETE / HTTP/1.1\r\n" H "Content-Length: 4\r\n\r\n", 0, "/", "a", 4, false, false},
    {"HEAD / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n", 0, "/", "a", 0, true, false},
    {"POST / HTTP/1.1\r\n" H "Content-Length: 9223372036854775807\r\n\r\n", 0, "/", "a", INT64_MAX,
     false, false},
    /* two readings of one message */
    {"POST / HTTP/1.1\r\n" H "Content-Length: 5\r\nContent-Length: 6\r\n\r\n", -ERR_SYNTAX},
    {"POST / HTTP/1.1\r\n" H "Content-Length: 5\r\nContent-Length: 5\r\n\r\n", -ERR_SYNTAX},
    {"POST / HTTP/1.1\r\n" H "Content-Length: 5, 5\r\n\r\n", -ERR_SYNTAX},
    {"POST / HTTP/1.1\r\n" H "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
     -ERR_SYNTAX},
    {"POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n",
     -ERR_SYNTAX},
    {"POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
     -ERR_SYNTAX},
    {"POST / HTTP/1.1\r\n" H "Transfer-Encoding: gzip, chunked\r\n\r\n", -ERR_UNSUPPORTED},
    {"POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked, identity\r\n\r\n", -ERR_UNSUPPORTED},
    {"POST / HTTP/1.1\r\n" H "Transfer-Encoding: identity\r\n\r\n", -ERR_UNSUPPORTED},
    {"POST / HTTP/1.1\r\n" H "Transfer-Encoding: xchunked\r\n\r\n", -ERR_UNSUPPORTED},
    {"POST / HTTP/1.1\r\n" H "Transfer-Encoding:\r\n\r\n", -ERR_UNSUPPORTED},
    {"POST / HTTP/1.1\r\n" H "Transfer-Encoding : chunked\r\n\r\n", -ERR_SYNTAX},
    {"POST / HTTP/1.1\r\n" H "Transfer-Encoding\t: chunked\r\n\r\n", -ERR_SYNTAX},
    {"POST / HTTP/1.1\r\n" H "Transfer-Encoding: \x0b"
     "chunked\r\n\r\n",
     -ERR_SYNTAX},
    {"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", -ERR_SYNTAX},
    {"POST / HTTP/1.1\r\n" H "Content-Length: +5\r\n\r\n", -ERR_SYNTAX},
    {"POST / HTTP/1.1\r\n" H "Content-Length: -5\r\n\r\n", -ERR_SYNTAX},
    {"POST / HTTP/1.1\r\n" H "Content-Length: 0x5\r\n\r\n", -ERR_SYNTAX},
    {"POST / HTTP/1.1\r\n" H "Content-Length: 5 5\r\n\r\n", -ERR_SYNTAX},
    {"POST / HTTP/1.1\r\n" H "Content-Length:\r\n\r\n", -ERR_SYNTAX},
    {"POST / HTTP/1.1\r\n" H "Content-Length: 18446744073709551616\r\n\r\n", -ERR_SYNTAX},
    {"POST / HTTP/1.1\r\n" H "Content-Length: 99999999999999999999999\r\n\r\n", -ERR_SYNTAX},
    {"POST / HTTP/1.1\r\n" H "Content-Length: 18446744073709551615\r\n\r\n", -ERR_SYNTAX},
    {"GET / HTTP/1.1\r\n" H "Host: b\r\n\r\n", -ERR_SYNTAX},
    {"GET / HTTP/1.1\r\r\n" H "\r\n", -ERR_SYNTAX},
    {"GET /\rx HTTP/1.1\r\n" H "\r\n", -ERR_SYNTAX},
    {"GET / HTTP/1.1\r\n" H "x\r: y\r\n\r\n", -ERR_SYNTAX},
    {"GET / HTTP/1.1\r\n" H "x: y\r\r\n\r\n", -ERR_SYNTAX},
    {"GET / HTTP/1.1\r\n\r\n", -ERR_SYNTAX},
    {"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", -ERR_SYNTAX},
    {"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", -ERR_SYNTAX},
    {"GET / HTTP/1.1\r\nHost: a@b\r\n\r\n", -ERR_SYNTAX},
    {"GET http://u@b/ HTTP/1.1\r\n" H "\r\n", -ERR_SYNTAX},
    {"GET http:///x HTTP/1.1\r\n" H "\r\n", -ERR_SYNTAX},
    {"GET http://b HTTP/1.1\r\n" H "\r\n", -ERR_SYNTAX},
    {"GET ftp://b/ HTTP/1.1\r\n" H "\r\n", -ERR_SYNTAX},
    {"GET * HTTP/1.1\r\n" H "\r\n", -ERR_SYNTAX},
    {"GET x HTTP/1.1\r\n" H "\r\n", -ERR_SYNTAX},
    {"GET / HTTP/1.1\r\nHost:\r\n\r\n", -ERR_SYNTAX},
    {"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", -ERR_SYNTAX},
    {"GET / HTTP/1.1\r\nHost: a?b\r\n\r\n", -ERR_SYNTAX},
    {"GET / HTTP/1.1\r\nHost: a#b\r\n\r\n", -ERR_SYNTAX},
    {"GET / HTTP/1.1\r\nHost: a,b\r\n\r\n", -ERR_SYNTAX},
    {"GET / HTTP/1.1\r\nHost: a:\r\n\r\n", -ERR_SYNTAX},
    {"GET / HTTP/1.1\r\nHost: :80\r\n\r\n", -ERR_SYNTAX},
    {"GET / HTTP/1.1\r\nHost: a:b\r\n\r\n", -ERR_SYNTAX},
    {"GET / HTTP/1.1\r\nHost: a:65536\r\n\r\n", -ERR_SYNTAX},
    {"GET / HTTP/1.1\r\nHost: a:1:2\r\n\r\n", -ERR_SYNTAX},
    {"GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", -ERR_SYNTAX},
    {"GET / HTTP/1.1\r\nHost: [::1]x\r\n\r\n", -ERR_SYNTAX},
    {"GET / HTTP/1.1\r\nHost: [1.2.3.4]\r\n\r\n", -ERR_SYNTAX},
    {"GET / HTTP/1.1\r\nHost: \xc3\xa9\r\n\r\n", -ERR_SYNTAX},
    {"GET http://b/x HTTP/1.1\r\n\r\n", -ERR_SYNTAX},
    {"GET http://b?x HTTP/1.1\r\n" H "\r\n", -ERR_SYNTAX},
    {"GET http://b:1:2/ HTTP/1.1\r\n" H "\r\n", -ERR_SYNTAX},
    {"GET /x#y HTTP/1.1\r\n" H "\r\n", -ERR_SYNTAX},
    {"GET b:1 HTTP/1.1\r\n" H "\r\n", -ERR_SYNTAX},
    {"CONNECT b HTTP/1.1\r\n" H "\r\n", -ERR_SYNTAX},
    {"CONNECT /x HTTP/1.1\r\n" H "\r\n", -ERR_SYNTAX},
    {"CONNECT http://b/ HTTP/1.1\r\n" H "\r\n", -ERR_SYNTAX},
    {"CONNECT b:1 HTTP/1.1\r\n" H "Content-Length: 0\r\n\r\n", -ERR_SYNTAX},
    {"CONNECT b:1 HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n", -ERR_SYNTAX},
    {"GET / HTTP/1.1\r\n" H
     "Connection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 1\r\n\r\n",
     -ERR_SYNTAX},
    {"GET / HTTP/1.1\r\n" H "Connection: host\r\n\r\n", -ERR_SYNTAX},
    {"GET / HTTP/1.1\r\n" H "Connection: close, Content-Length\r\n\r\n", -ERR_SYNTAX},
    {"GET / HTTP/1.1\r\n" H "Connection: transfer-encoding\r\n\r\n", -ERR_SYNTAX},
    {"GET / HTTP/1.1\r\n" H "Connection: Cookie\r\n\r\n", -ERR_SYNTAX},
    {"GET / HTTP/1.1\r\n" H "Connection: authorization\r\n\r\n", -ERR_SYNTAX},
    {"GET / HTTP/1.1\r\n" H "Connection: X-Forwarded-For\r\n\r\n", -ERR_SYNTAX},
    {"GET / HTTP/1.1\r\n" H "Connection: x-forwarded-client-cert\r\n\r\n", -ERR_SYNTAX},
    {"GET / HTTP/1.1\r\n" H "Connection: a b\r\n\r\n", -ERR_SYNTAX},
    {"GET / HTTP/1.1\r\n" H "Connection: \"close\"\r\n\r\n", -ERR_SYNTAX},
    {"POST / HTTP/1.1\r\n" H "Content-Length: 9223372036854775808\r\n\r\n", -ERR_SYNTAX},
    {"POST / HTTP/1.1\r\n" H "Content-Length: 00000000000000000005\r\n\r\n", -ERR_SYNTAX},
    {"POST / HTTP/1.1\r\n" H "Transfer-Encoding: \"chunked\"\r\n\r\n", -ERR_UNSUPPORTED},
    {"POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked,\r\n\r\n", -ERR_UNSUPPORTED},
    {"POST / HTTP/1.1\r\n" H "Transfer-Encoding: ,chunked\r\n\r\n", -ERR_UNSUPPORTED},
    {"POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked, chunked\r\n\r\n", -ERR_UNSUPPORTED},
    {"POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked;q=1\r\n\r\n", -ERR_UNSUPPORTED},
    /* lines */
    {"ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFG / HTTP/1.1\r\n" H "\r\n", -ERR_SYNTAX},
    {"GET / HTTP/1.1\r\n" H ":path: x\r\n\r\n", -ERR_SYNTAX},
    {"GET / HTTP/1.1\n" H "\r\n", -ERR_SYNTAX},
    {"GET / HTTP/1.1\r\nHost: a\n\r\n", -ERR_SYNTAX},
    {"GET / HTTP/1.1\r\n" H "x: a\rb\r\n\r\n", -ERR_SYNTAX},
    {"GET / HTTP/1.1\r\n" H "x: a\nb: c\r\n\r\n", -ERR_SYNTAX},
    {"GET / HTTP/1.1\r\n" H "x: a\r\n b\r\n\r\n", -ERR_SYNTAX},
    {"GET / HTTP/1.1\r\n" H "\tx: a\r\n\r\n", -ERR_SYNTAX},
    {"GET / HTTP/1.1\r\n x: a\r\n" H "\r\n", -ERR_SYNTAX},
    {"GET / HTTP/1.1\r\n" H "x y: a\r\n\r\n", -ERR_SYNTAX},
    {"GET / HTTP/1.1\r\n" H ": a\r\n\r\n", -ERR_SYNTAX},
    {"GET / HTTP/1.1\r\n" H "x\r\n\r\n", -ERR_SYNTAX},
    {"GET / HTTP/1.1\r\n" H "x: \x7f\r\n\r\n", -ERR_SYNTAX},
    {"GET / HTTP/1.1\r\n" H "\xc3\xa9: a\r\n\r\n", -ERR_SYNTAX},
    {"GET  / HTTP/1.1\r\n" H "\r\n", -ERR_SYNTAX},
    {"GET /  HTTP/1.1\r\n" H "\r\n", -ERR_SYNTAX},
    {"GET\t/ HTTP/1.1\r\n" H "\r\n", -ERR_SYNTAX},
    {"GET /\xc3\xa9 HTTP/1.1\r\n" H "\r\n", -ERR_SYNTAX},
    {"GET / HTTP/1.1 \r\n" H "\r\n", -ERR_SYNTAX},
    {" GET / HTTP/1.1\r\n" H "\r\n", -ERR_SYNTAX},
    {"G(T / HTTP/1.1\r\n" H "\r\n", -ERR_SYNTAX},
    {"GET /\r\n" H "\r\n", -ERR_SYNTAX},
    {"GET / http/1.1\r\n" H "\r\n", -ERR_SYNTAX},
    {"GET / HTTP/1.10\r\n" H "\r\n", -ERR_SYNTAX},
    {"GET / HTTP/1.2\r\n" H "\r\n", -ERR_VERSION},
    {"GET / HTTP/0.9\r\n" H "\r\n", -ERR_VERSION},
    {"PRI * HTTP/2.0\r\n\r\n", -ERR_VERSION},

};

static int read_head(const char *text, struct h1_head *head, struct h1_framing *out)
{
    int r = h1_head_parse(text, strlen(text), head, NULL);

    return r < 0 ? r : h1_framing_of(head, out, NULL);
}

TEST(every_head_of_the_table_is_read_one_way_or_refused)
{
    struct h1_head head;

    for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
        struct h1_framing f = {0};
        int r = read_head(rows[i].head, &head, &f);
        if (r != rows[i].result) {
            printf("# row %u: %s\n", i, rows[i].head);
        }
        CHECK_INT(r, rows[i].result);
        if (r < 0) {
            continue;
        }
        CHECK(slice_is(f.path, rows[i].path));
        CHECK(slice_is(f.authority, rows[i].authority));
        CHECK_INT(f.length, rows[i].length);
        CHECK_INT(f.chunked, rows[i].chunked);
        CHECK_INT(f.close, rows[i].close);
    }
}

TEST(a_zero_byte_is_refused_wherever_it_stands)
{
    static const char good[] = "GET /abc HTTP/1.1\r\nHost: abc\r\nx-y: z z\r\n\r\n";
    char text[sizeof(good)];
    struct h1_head head;

    for (size_t i = 0; i < sizeof(good) - 1; i++) {
        memcpy(text, good, sizeof(good));
        text[i] = '\0';
        CHECK(h1_head_parse(text, sizeof(good) - 1, &head, NULL) < 0);
    }
    CHECK_INT(h1_head_parse(good, sizeof(good) - 1, &head, NULL), 0);
}

TEST(more_fields_than_the_limit_are_refused)
{
    AUTO(strbuf) struct strbuf b = {0};
    struct h1_head head;

    strbuf_puts(&b, "GET / HTTP/1.1\r\n");
    for (int i = 0; i < H1_FIELDS_MAX; i++) {
        strbuf_puts(&b, "x: y\r\n");
    }
    strbuf_puts(&b, "\r\n");
    CHECK_INT(h1_head_parse(b.p, b.len, &head, NULL), 0);
    CHECK_INT(head.count, H1_FIELDS_MAX);
    b.len -= 2;
    strbuf_puts(&b, "x: y\r\n\r\n");
    CHECK_INT(h1_head_parse(b.p, b.len, &head, NULL), -ERR_TOO_LARGE);
}

TEST(a_section_is_found_however_it_is_cut)
{
    static const char text[] = "GET / HTTP/1.1\r\nHost: a\r\n\r\nrest";
    size_t whole = strlen(text) - 4;

    for (size_t step = 1; step <= sizeof(text); step++) {
        size_t seen = 0;
        ssize_t end = 0;
        size_t have = 0;
        while (end == 0 && have < sizeof(text) - 1) {
            have = have + step < sizeof(text) - 1 ? have + step : sizeof(text) - 1;
            end = h1_section_end(text, have, &seen, NULL);
        }
        CHECK_INT(end, whole);
    }
}

/* How much of the text had come when the section, fed octet by octet, was refused. 0: never. */
static size_t refused_at(const char *text, size_t len)
{
    size_t seen = 0;

    for (size_t n = 1; n <= len; n++) {
        ssize_t end = h1_section_end(text, n, &seen, NULL);
        if (end != 0) {
            return end < 0 ? n : 0;
        }
    }
    return 0;
}

TEST(a_section_that_cannot_end_well_is_not_waited_for)
{
    static const struct {
        const char *text;
        size_t len; /* 0: as long as the text */
        size_t at;  /* of the octet that decides, counted from 1 */
    } table[] = {
        {"GET / HTTP/1.1\nHost: x\n\n", 0, 15},
        {"GET / HTTP/1.1\r\nHost: x\n\n", 0, 24},
        {"GET / HTTP/1.1\r\nHost: x\r\n\n", 0, 26},
        {"\nGET / HTTP/1.1\r\n", 0, 1},
        {"GET / HTTP/1.1\rHost: x", 0, 16},
        {"GET / HTTP/1.1\r\r\n", 0, 16},
        {"\rGET", 0, 2},
        {"GET /\0 HTTP/1.1", 16, 6},
        {"GET /\x1b", 0, 6},
        {"GET /\x7f", 0, 6},
        {"GET / HTTP/1.1\r\nx: y\r\n folded", 0, 23},
        {"GET / HTTP/1.1\r\n\tx: y", 0, 17},
        {" GET / HTTP/1.1", 0, 1},
        {"GET / HTTP/1.1\r\nx: \ty\x80 z\r", 0, 0},
        {"GET / HTTP/1.1\r\nHost: x\r\n\r", 0, 0},
    };

    for (unsigned i = 0; i < ARRAY_LEN(table); i++) {
        size_t len = table[i].len > 0 ? table[i].len : strlen(table[i].text);
        size_t seen = 0;
        CHECK_INT(refused_at(table[i].text, len), table[i].at);
        CHECK_INT(h1_section_end(table[i].text, len, &seen, NULL),
                  table[i].at > 0 ? -ERR_SYNTAX : 0);
    }
}

TEST(a_first_line_is_judged_before_the_rest_has_come)
{
    static const struct {
        const char *text;
        int request, response;
    } table[] = {
        {"", 0, 0},
        {"G", 0, -ERR_SYNTAX},
        {"H", 0, 0},
        {"HTTP/", -ERR_SYNTAX, 0},
        {"GET / HTT", 0, -ERR_SYNTAX},
        {"GET / HTTP/1.1\r\nHo", 0, -ERR_SYNTAX},
        {"GET /\r\n", -ERR_SYNTAX, -ERR_SYNTAX},
        {"GET / HTTP/2.0\r\n", -ERR_VERSION, -ERR_SYNTAX},
        {"GET  / HTTP/1.1\r\n", -ERR_SYNTAX, -ERR_SYNTAX},
        {"(", -ERR_SYNTAX, -ERR_SYNTAX},
        {"ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEF", 0, -ERR_SYNTAX},
        {"ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFG", -ERR_SYNTAX, -ERR_SYNTAX},
        {"\x16\x03\x01", -ERR_SYNTAX, -ERR_SYNTAX},
        {"\r", 0, -ERR_SYNTAX},
        {"SSH-2.0-x\r\n", -ERR_SYNTAX, -ERR_SYNTAX},
        {"HTTP/1.1 200\r\n", -ERR_SYNTAX, -ERR_SYNTAX},
        {"HTTP/1.1 200 \r\n", -ERR_SYNTAX, 0},
        {"HTTP/1.1 999 x\r\n", -ERR_SYNTAX, -ERR_SYNTAX},
    };

    for (unsigned i = 0; i < ARRAY_LEN(table); i++) {
        const char *text = table[i].text;
        if (h1_request_begins(text, strlen(text), NULL) != table[i].request) {
            printf("# row %u: %s\n", i, text);
        }
        CHECK_INT(h1_request_begins(text, strlen(text), NULL), table[i].request);
        CHECK_INT(h1_response_begins(text, strlen(text), NULL), table[i].response);
    }
}

/* Decodes in pieces: the data, or the error. */
static int dechunk(const char *text, size_t piece, char *out, size_t *used)
{
    struct h1_chunk c = {0};
    size_t len = strlen(text);

    *out = '\0';
    *used = 0;
    while (*used < len && c.step != H1_CHUNK_TRAILERS) {
        struct slice data;
        size_t n = len - *used < piece ? len - *used : piece;
        ssize_t r = chunk_feed(&c, text + *used, n, &data);
        if (r < 0) {
            return (int)r;
        }
        strncat(out, data.p, data.len);
        *used += (size_t)r;
    }
    return c.step == H1_CHUNK_TRAILERS ? 0 : -EAGAIN;
}

TEST(every_chunked_body_of_the_table_is_read_one_way_or_refused)
{
    static const struct {
        const char *text;
        int result;
        const char *data;
        const char *left;
    } table[] = {
        {"5\r\nhello\r\n0\r\n\r\nnext", 0, "hello", "\r\nnext"},
        {"5\r\nhello\r\n6\r\n world\r\n0\r\nx: y\r\n\r\n", 0, "hello world", "x: y\r\n\r\n"},
        {"A\r\n0123456789\r\n0\r\n\r\n", 0, "0123456789", "\r\n"},
        {"00a\r\n0123456789\r\n000\r\n\r\n", 0, "0123456789", "\r\n"},
        {"5;a=b\r\nhello\r\n0;x\r\n\r\n", 0, "hello", "\r\n"},
        {"5;a=\"b c\"\r\nhello\r\n0\r\n\r\n", 0, "hello", "\r\n"},
        {"5;a;b=c;d=\"\\\"\";e\r\nhello\r\n0\r\n\r\n", 0, "hello", "\r\n"},
        {"5;a=\"\"\r\nhello\r\n0\r\n\r\n", 0, "hello", "\r\n"},
        {"5;\r\nhello\r\n", -ERR_SYNTAX},
        {"5;=b\r\nhello\r\n", -ERR_SYNTAX},
        {"5;a=\r\nhello\r\n", -ERR_SYNTAX},
        {"5;a= b\r\nhello\r\n", -ERR_SYNTAX},
        {"5;a =b\r\nhello\r\n", -ERR_SYNTAX},
        {"5; a=b\r\nhello\r\n", -ERR_SYNTAX},
        {"5;a;\r\nhello\r\n", -ERR_SYNTAX},
        {"5;;a\r\nhello\r\n", -ERR_SYNTAX},
        {"5;a=\"b\r\nhello\r\n", -ERR_SYNTAX},
        {"5;a=\"b\"c\r\nhello\r\n", -ERR_SYNTAX},
        {"5;a=b\"c\"\r\nhello\r\n", -ERR_SYNTAX},
        {"5;a\x80\r\nhello\r\n", -ERR_SYNTAX},
        {"5\t\r\nhello\r\n", -ERR_SYNTAX},
        {"5\r\nhel", -EAGAIN},
        {"5\r\nhello\r\n0", -EAGAIN},
        {"\r\n", -ERR_SYNTAX},
        {";x\r\n", -ERR_SYNTAX},
        {"x\r\n", -ERR_SYNTAX},
        {"-5\r\nhello\r\n", -ERR_SYNTAX},
        {"+5\r\nhello\r\n", -ERR_SYNTAX},
        {"0x5\r\nhello\r\n", -ERR_SYNTAX},
        {" 5\r\nhello\r\n", -ERR_SYNTAX},
        {"5 \r\nhello\r\n", -ERR_SYNTAX},
        {"5 ;x\r\nhello\r\n", -ERR_SYNTAX},
        {"5\nhello\r\n", -ERR_SYNTAX},
        {"5\rhello\r\n", -ERR_SYNTAX},
        {"5;x\nhello\r\n", -ERR_SYNTAX},
        {"5;x\rhello\r\n", -ERR_SYNTAX},
        {"5\r\nhello0\r\n\r\n", -ERR_SYNTAX},
        {"5\r\nhello\n0\r\n\r\n", -ERR_SYNTAX},
        {"5\r\nhello\r0\r\n\r\n", -ERR_SYNTAX},
        {"0000000000000005\r\nhello\r\n", -ERR_SYNTAX},
        {"ffffffffffffffff\r\n", -ERR_SYNTAX},
        {"10000000000000000\r\n", -ERR_SYNTAX},
    };
    char data[64];
    size_t used;

    for (unsigned i = 0; i < ARRAY_LEN(table); i++) {
        for (size_t piece = 1; piece < 12; piece++) {
            int r = dechunk(table[i].text, piece, data, &used);
            if (r != table[i].result) {
                printf("# row %u piece %zu\n", i, piece);
            }
            CHECK_INT(r, table[i].result);
            if (r == 0) {
                CHECK_STR(data, table[i].data);
                CHECK_STR(table[i].text + used, table[i].left);
            }
        }
    }
}

TEST(a_chunk_line_has_a_limit)
{
    char text[H1_CHUNK_LINE_MAX + 16];
    char data[64];
    size_t used;

    for (size_t more = 0; more < 2; more++) {
        size_t n = H1_CHUNK_LINE_MAX - strlen("1;\r") + more;
        memset(text, 'a', sizeof(text));
        memcpy(text, "1;", 2);
        memcpy(text + 2 + n, "\r\nx\r\n0\r\n", sizeof("\r\nx\r\n0\r\n"));
        CHECK_INT(dechunk(text, 7, data, &used), more ? -ERR_SYNTAX : 0);
    }
}

TEST(framing_that_outweighs_its_data_is_refused)
{
    AUTO(strbuf) struct strbuf tiny = {0};
    struct h1_chunk c = {0};
    struct slice data;
    size_t at = 0;
    ssize_t r = 1;

    for (int i = 0; i < 100; i++) {
        strbuf_puts(&tiny,
                    "1;aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\nx\r\n");
    }
    for (int round = 0; round < 10 && r >= 0; round++) {
        for (at = 0; at < tiny.len && r >= 0; at += r > 0 ? (size_t)r : 0) {
            r = chunk_feed(&c, tiny.p + at, tiny.len - at, &data);
        }
    }
    CHECK_INT(r, -ERR_TOO_LARGE);
}

TEST(ordinary_chunks_never_run_out_of_budget)
{
    struct h1_chunk c = {0};
    struct slice data;
    static const char chunk[] = "20\r\n0123456789abcdef0123456789abcdef\r\n";

    for (int i = 0; i < 200000; i++) {
        for (size_t at = 0; at < sizeof(chunk) - 1;) {
            ssize_t r = chunk_feed(&c, chunk + at, sizeof(chunk) - 1 - at, &data);
            CHECK(r > 0);
            at += (size_t)r;
        }
    }
}

TEST(an_upgrade_is_seen_only_to_websocket_and_only_when_connection_says_so)
{
    static const struct {
        const char *fields;
        const char *upgrade;
    } table[] = {
        {"Connection: Upgrade\r\nUpgrade: websocket\r\n", "websocket"},
        {"Connection: keep-alive, upgrade\r\nUpgrade: h2c, WebSocket\r\n", "websocket"},
        {"Upgrade: websocket\r\n", ""},
        {"Connection: close\r\nUpgrade: websocket\r\n", ""},
        {"Connection: Upgrade\r\nUpgrade: h2c\r\n", ""},
        {"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\n", ""},
        {"Connection: Upgrade\r\nUpgrade: TLS/1.2\r\n", ""},
        {"Connection: Upgrade\r\n", ""},
    };
    struct h1_head head;

    for (unsigned i = 0; i < ARRAY_LEN(table); i++) {
        AUTO(strbuf) struct strbuf b = {0};
        struct h1_framing f = {0};
        strbuf_printf(&b, "GET / HTTP/1.1\r\nHost: a\r\n%s\r\n", table[i].fields);
        CHECK_INT(read_head(b.p, &head, &f), 0);
        if (!slice_is(f.upgrade, table[i].upgrade)) {
            printf("# row %u\n", i);
        }
        CHECK(slice_is(f.upgrade, table[i].upgrade));
        b.p[strlen("GET / HTTP/1.")] = '0';
        CHECK_INT(read_head(b.p, &head, &f), 0);
        CHECK(slice_is(f.upgrade, ""));
    }
}

TEST(trailers_that_would_change_the_message_are_known)
{
    static const char *const bad[] = {"Content-Length",
                                      "transfer-encoding",
                                      "HOST",
                                      "Trailer",
                                      "te",
                                      "Authorization",
                                      "Set-Cookie",
                                      "Content-Type",
                                      "Connection",
                                      "x-forwarded-for",
                                      "Upgrade",
                                      "Expect"};
    static const char *const good[] = {"grpc-status", "x-sum", "content", "date", "hosts"};

    for (unsigned i = 0; i < ARRAY_LEN(bad); i++) {
        CHECK(h1_is_bad_trailer(slice_of(bad[i])));
    }
    for (unsigned i = 0; i < ARRAY_LEN(good); i++) {
        CHECK(!h1_is_bad_trailer(slice_of(good[i])));
    }
}
