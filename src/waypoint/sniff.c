/* SPDX-License-Identifier: Apache-2.0 */
#include "waypoint/sniff.h"

#include <string.h>

#include "base/num.h"
#include "base/str.h"
#include "codec/h1head.h"

static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

enum sniffed sniff_http(const char *p, size_t len)
{
    size_t n = MIN_OF(len, (size_t)H2_PREFACE_LEN);

    if (n > 0 && memcmp(p, preface, n) != 0) {
        return SNIFF_H1;
    }
    return n == H2_PREFACE_LEN ? SNIFF_H2 : SNIFF_MORE;
}

/* Behind the method: a target, a blank, the version. */
static enum sniffed judge_rest(struct slice rest)
{
    static const char version[] = "HTTP/1.";
    const char *blank = memchr(rest.p, ' ', rest.len);
    size_t target = blank ? (size_t)(blank - rest.p) : rest.len;

    for (size_t i = 0; i < target; i++) {
        unsigned char c = (unsigned char)rest.p[i];
        if (c <= ' ' || c >= 0x7f) {
            return SNIFF_TCP;
        }
    }
    if (!blank || target == 0) {
        return target == 0 && blank ? SNIFF_TCP : SNIFF_MORE;
    }
    size_t n = MIN_OF(rest.len - target - 1, sizeof(version) - 1);
    if (memcmp(blank + 1, version, n) != 0) {
        return SNIFF_TCP;
    }
    return n == sizeof(version) - 1 ? SNIFF_H1 : SNIFF_MORE;
}

static enum sniffed judge_line(const char *p, size_t len)
{
    const char *blank = memchr(p, ' ', MIN_OF(len, (size_t)H1_METHOD_MAX + 1));
    size_t method = blank ? (size_t)(blank - p) : len;

    if (method > H1_METHOD_MAX || (method == 0 && blank) ||
        (method > 0 && !h1_is_token((struct slice){p, method}))) {
        return SNIFF_TCP;
    }
    return blank ? judge_rest((struct slice){blank + 1, len - method - 1}) : SNIFF_MORE;
}

enum sniffed sniff(const char *p, size_t len)
{
    enum sniffed h2 = sniff_http(p, len);

    if (h2 != SNIFF_H1) {
        return h2;
    }
    enum sniffed r = judge_line(p, len);
    return r == SNIFF_MORE && len >= SNIFF_BYTES_MAX ? SNIFF_TCP : r;
}
