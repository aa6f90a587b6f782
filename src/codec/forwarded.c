/* SPDX-License-Identifier: Apache-2.0 */
/* Writing follows what the real proxy sends, reading is lenient: the header only labels metrics. */
#include "codec/forwarded.h"

void forwarded_format(struct strbuf *out, const struct endpoint *client, const char *host)
{
    char text[ENDPOINT_TEXT];

    strbuf_printf(out, "for=\"%s\"", endpoint_format(client, text));
    if (host && host[0] != '\0') {
        strbuf_printf(out, ";host=%s", host);
    }
}

static struct slice unquote(struct slice s)
{
    s = slice_trim(s);
    if (s.len >= 2 && s.p[0] == '"' && s.p[s.len - 1] == '"') {
        return (struct slice){s.p + 1, s.len - 2};
    }
    return s;
}

static void read_client(struct forwarded *f, struct slice value)
{
    struct ip ip;

    if (endpoint_parse(&f->client, value.p, value.len) == 0) {
        return;
    }
    if (value.len > 2 && value.p[0] == '[' && value.p[value.len - 1] == ']') {
        value = (struct slice){value.p + 1, value.len - 2};
    }
    if (ip_parse(&ip, value.p, value.len) == 0) {
        f->client = (struct endpoint){.ip = ip};
    }
}

void forwarded_parse(struct forwarded *out, const char *text, size_t len)
{
    struct slice all = {text, len};
    struct slice rest, more;
    struct forwarded f = {.host = {"", 0}};

    (void)slice_cut(all, ',', &rest, &more); /* without one there is one element */
    while (rest.len > 0) {
        struct slice pair, behind, key, value;
        (void)slice_cut(rest, ';', &pair, &behind); /* without one it is the last */
        rest = behind;
        if (!slice_cut(pair, '=', &key, &value)) {
            continue;
        }
        if (slice_is_any_case(slice_trim(key), "for")) {
            read_client(&f, unquote(value));
        } else if (slice_is_any_case(slice_trim(key), "host")) {
            f.host = unquote(value);
        }
    }
    *out = f;
}
