/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Request heads and chunked bodies. Oracles: what is accepted, written again in plain form, reads the
 * same; an accepted head holds no octet that another parser could take for a line end, and says its
 * body's length at most once; a chunked body is decoded the same however it is cut, and a naive
 * decoder agrees.
 */
#include "codec/h1head.h"

#include <stdlib.h>
#include <strings.h>

#include "base/num.h"
#include "chunk_feed.h"

static void need(bool truth)
{
    if (!truth) {
        abort();
    }
}

static void clean(struct slice s)
{
    for (size_t i = 0; i < s.len; i++) {
        need(s.p[i] != '\r' && s.p[i] != '\n' && s.p[i] != '\0');
    }
}

static bool same(struct slice a, struct slice b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.p, b.p, a.len) == 0);
}

static void put(struct strbuf *b, struct slice s)
{
    strbuf_add(b, s.p, s.len);
}

static void again(const struct h1_head *h)
{
    static struct h1_head second;
    AUTO(strbuf) struct strbuf text = {0};

    put(&text, h->method);
    strbuf_putc(&text, ' ');
    put(&text, h->target);
    strbuf_printf(&text, " HTTP/1.%u\r\n", h->minor);
    for (unsigned i = 0; i < h->count; i++) {
        clean(h->fields[i].name);
        clean(h->fields[i].value);
        put(&text, h->fields[i].name);
        strbuf_putc(&text, ':');
        put(&text, h->fields[i].value);
        strbuf_puts(&text, "\r\n");
    }
    strbuf_puts(&text, "\r\n");
    need(h1_head_parse(text.p, text.len, &second, NULL) == 0);
    need(same(h->method, second.method) && same(h->target, second.target));
    need(h->minor == second.minor && h->count == second.count);
    for (unsigned i = 0; i < h->count; i++) {
        need(same(h->fields[i].name, second.fields[i].name));
        need(same(h->fields[i].value, second.fields[i].value));
    }
}

static unsigned count_named(const struct h1_head *h, const char *name)
{
    unsigned n = 0;

    for (unsigned i = 0; i < h->count; i++) {
        n += h->fields[i].name.len == strlen(name) &&
             strncasecmp(h->fields[i].name.p, name, strlen(name)) == 0;
    }
    return n;
}

/* No beginning of a head that is accepted in the end is refused, however it is cut. */
static void parts(const char *p, size_t len)
{
    size_t step = 1 + len % 13;
    size_t seen = 0;

    for (size_t n = step; n < len; n += step) {
        need(h1_section_end(p, n, &seen, NULL) == 0);
        need(h1_request_begins(p, n, NULL) == 0);
    }
}

/* What cannot become a head is not waited for: where more is asked for, all lines that are there are
 * proper ones to a naive reader. */
static void early(const char *p, size_t len)
{
    size_t step = 1 + len % 13;
    size_t seen = 0;
    ssize_t end = 0;

    for (size_t n = MIN_OF(step, len); end == 0; n = MIN_OF(n + step, len)) {
        end = h1_section_end(p, n, &seen, NULL);
        if (n == len) {
            break;
        }
    }
    if (end != 0) {
        return;
    }
    for (size_t i = 0; i < len; i++) {
        need(p[i] != '\0' && (p[i] != '\n' || (i > 0 && p[i - 1] == '\r')));
        need(p[i] != '\r' || i + 1 == len || p[i + 1] == '\n');
    }
}

static void head(const char *p, size_t len)
{
    static struct h1_head h;
    struct h1_framing f;
    size_t seen = 0;
    ssize_t end = h1_section_end(p, len, &seen, NULL);

    if (end <= 0 || h1_head_parse(p, (size_t)end, &h, NULL) < 0) {
        early(p, len);
        return;
    }
    parts(p, (size_t)end);
    clean(h.method);
    clean(h.target);
    again(&h);
    if (h1_framing_of(&h, &f, NULL) == 0) {
        need(count_named(&h, "content-length") + count_named(&h, "transfer-encoding") <= 1);
        need(count_named(&h, "host") <= 1 && (h.minor == 0 || count_named(&h, "host") == 1));
        need(!f.chunked || f.length == 0);
        need(f.chunked == (count_named(&h, "transfer-encoding") == 1));
    }
}

struct decoded {
    struct strbuf data;
    size_t used;
    int result; /* 0: at the trailers, -EAGAIN: wants more, or the error */
};

static void decode(const char *p, size_t len, size_t piece, struct decoded *out)
{
    struct h1_chunk c = {0};

    while (out->used < len && c.step != H1_CHUNK_TRAILERS) {
        struct slice data;
        size_t n = len - out->used < piece ? len - out->used : piece;
        ssize_t r = chunk_feed(&c, p + out->used, n, &data);
        if (r < 0) {
            out->result = (int)r;
            return;
        }
        need((size_t)r <= n && r > 0 && data.len <= (size_t)r);
        put(&out->data, data);
        out->used += (size_t)r;
    }
    out->result = c.step == H1_CHUNK_TRAILERS ? 0 : -EAGAIN;
}

static int digit(char c)
{
    const char *at = c ? strchr("0123456789abcdef0123456789ABCDEF", c) : NULL;

    return at ? (int)((at - "0123456789abcdef0123456789ABCDEF") % 16) : -1;
}

/* Straight down, no state: true and the rest when the whole is well formed up to the trailers. */
static bool naive(const char *p, size_t len, struct strbuf *out, size_t *used)
{
    size_t at = 0;

    for (;;) {
        uint64_t size = 0;
        size_t start = at;
        while (at < len && digit(p[at]) >= 0) {
            size = size * 16 + (uint64_t)digit(p[at]);
            at++;
            if (at - start > 15) {
                return false;
            }
        }
        if (at == start || at >= len || (p[at] != ';' && p[at] != '\r')) {
            return false;
        }
        while (at < len && p[at] != '\r') {
            if ((unsigned char)p[at] < 0x20 || p[at] == 0x7f) {
                return false;
            }
            at++;
        }
        if (len - at < 2 || p[at + 1] != '\n') {
            return false;
        }
        at += 2;
        if (size == 0) {
            *used = at;
            return true;
        }
        if (size > len - at || len - at - size < 2 || p[at + size] != '\r' ||
            p[at + size + 1] != '\n') {
            return false;
        }
        strbuf_add(out, p + at, size);
        at += size + 2;
    }
}

static void chunks(const char *p, size_t len)
{
    struct decoded whole = {0};
    struct decoded cut = {0};
    AUTO(strbuf) struct strbuf plain = {0};
    size_t used = 0;

    decode(p, len, len, &whole);
    decode(p, len, 1 + len % 7, &cut);
    need(whole.result == cut.result);
    need(whole.result != 0 || whole.used == cut.used);
    need(whole.data.len == cut.data.len || whole.result < 0);
    bool fine = naive(p, len, &plain, &used);
    need(whole.result != 0 || fine);
    if (whole.result == 0) {
        need(used == whole.used && plain.len == whole.data.len);
        need(plain.len == 0 || memcmp(plain.p, whole.data.p, plain.len) == 0);
    } else if (fine) {
        /* stricter than the naive one only about long lines and framing without data */
        need(whole.result == -ERR_TOO_LARGE || whole.result == -ERR_SYNTAX);
    }
    strbuf_fini(&whole.data);
    strbuf_fini(&cut.data);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    if (len > 0) {
        head((const char *)data, len);
        chunks((const char *)data, len);
    }
    return 0;
}
