/* SPDX-License-Identifier: Apache-2.0 */
#include "io/resolv_conf.h"

#include <ctype.h>

#include "base/ascii.h"
#include "base/str.h"

/* The next word of *rest; empty at the end. */
static struct slice next_word(struct slice *rest)
{
    size_t at = 0;

    while (at < rest->len && isspace((unsigned char)rest->p[at])) {
        at++;
    }
    size_t end = at;
    while (end < rest->len && !isspace((unsigned char)rest->p[end])) {
        end++;
    }
    struct slice word = {rest->p + at, end - at};
    *rest = (struct slice){rest->p + end, rest->len - end};
    return word;
}

static void add_server(struct resolv_conf *c, struct slice word)
{
    struct endpoint *e = &c->servers[c->server_count];
    struct ip ip;

    if (c->server_count < RESOLV_SERVERS_MAX && ip_parse(&ip, word.p, word.len) == 0) {
        *e = (struct endpoint){.ip = ip, .port = RESOLV_PORT};
        c->server_count++;
    }
}

static void add_search(struct resolv_conf *c, struct slice word)
{
    size_t len = word.len > 0 && word.p[word.len - 1] == '.' ? word.len - 1 : word.len;

    if (len == 0 || len >= RESOLV_NAME_MAX || c->search_count >= RESOLV_SEARCH_MAX) {
        return;
    }
    char *to = c->search[c->search_count++];
    for (size_t i = 0; i < len; i++) {
        to[i] = ascii_lower(word.p[i]);
    }
    to[len] = '\0';
}

static void parse_line(struct resolv_conf *c, struct slice line)
{
    struct slice keyword = next_word(&line);
    bool search = slice_is(keyword, "search");

    if (slice_is(keyword, "nameserver")) {
        add_server(c, next_word(&line));
    } else if (search || slice_is(keyword, "domain")) {
        c->search_count = 0; /* the last one of either counts */
        for (struct slice w = next_word(&line); w.len > 0; w = next_word(&line)) {
            add_search(c, w);
        }
    }
}

void resolv_conf_parse(const char *text, size_t len, struct resolv_conf *out)
{
    struct slice rest = {text, len};
    struct slice line;

    *out = (struct resolv_conf){.server_count = 0};
    while (rest.len > 0) {
        if (!slice_cut(rest, '\n', &line, &rest)) {
            rest.len = 0;
        }
        parse_line(out, line);
    }
    if (out->server_count == 0) {
        add_server(out, slice_of("127.0.0.1"));
    }
}
