/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "base/ascii.h"
#include "model/l7_match_int.h"
#include "model/l7_table.h"

static bool same(struct slice s, const char *text, size_t len)
{
    return s.len == len && (len == 0 || memcmp(s.p, text, len) == 0);
}

static bool regex_holds(struct l7_try *t, const struct l7_regex *x, struct slice subject)
{
    int r = l7_regex_match(x, subject);

    t->unknown += r < 0;
    return r > 0;
}

/* "/a" covers "/a" and "/a/b", not "/ab"; prefix is without its last '/'. */
static bool prefix_covers(const char *prefix, size_t len, struct slice path)
{
    return path.len >= len && (len == 0 || memcmp(path.p, prefix, len) == 0) &&
           (path.len == len || path.p[len] == '/' || len == 0);
}

bool l7_try_path(struct l7_try *t, const struct l7_path_match *m)
{
    switch (m->kind) {
    case L7_PATH_EXACT:
        return same(t->q->path, m->value, m->value_len);
    case L7_PATH_PREFIX:
        return prefix_covers(m->value, m->value_len, t->q->path);
    case L7_PATH_REGEX:
        break;
    }
    return t->q->path.len >= m->literal_len &&
           memcmp(t->q->path.p, m->value, m->literal_len) == 0 &&
           regex_holds(t, m->regex, t->q->path);
}

static bool value_holds(struct l7_try *t, const struct l7_value_match *m, struct slice value)
{
    if (!value.p) {
        return false;
    }
    switch (m->kind) {
    case L7_VALUE_EXACT:
        return same(value, m->value, m->value_len);
    case L7_VALUE_REGEX:
        return regex_holds(t, m->regex, value);
    case L7_VALUE_PRESENT:
        break;
    }
    return true;
}

/* ---- the query: split at '&' and '=', each part decoded once, '+' stays '+' */

/* A broken escape is text, as it is for most servers. */
static bool decode(struct l7_query *y, struct slice from, struct slice *out)
{
    if (from.len == 0 || !memchr(from.p, '%', from.len)) {
        *out = from;
        return true;
    }
    if (from.len > sizeof(y->text) - y->text_len) {
        return false;
    }
    char *to = y->text + y->text_len;
    size_t n = 0;
    for (size_t i = 0; i < from.len; i++) {
        int high = from.p[i] == '%' && i + 2 < from.len ? ascii_hex_value(from.p[i + 1]) : -1;
        int low = high >= 0 ? ascii_hex_value(from.p[i + 2]) : -1;
        to[n++] = (char)(low >= 0 ? high << 4 | low : from.p[i]);
        i += low >= 0 ? 2 : 0;
    }
    y->text_len += n;
    *out = (struct slice){to, n};
    return true;
}

/* False: no room for it. */
static bool add_param(struct l7_query *y, struct slice piece)
{
    struct slice name = piece;
    struct slice value = {"", 0};

    if (y->count == L7_QUERY_MAX) {
        return false;
    }
    if (!slice_cut(piece, '=', &name, &value)) {
        name = piece;
        value = (struct slice){"", 0};
    }
    if (!decode(y, name, &name) || !decode(y, value, &value)) {
        return false;
    }
    y->params[y->count++] = (struct l7_param){name, value};
    return true;
}

static void read_query(struct l7_query *y, struct slice rest)
{
    y->read = true;
    while (rest.len > 0 && !y->bad) {
        struct slice piece = rest;
        struct slice behind = {"", 0};

        if (!slice_cut(rest, '&', &piece, &behind)) {
            piece = rest;
            behind = (struct slice){"", 0};
        }
        rest = behind;
        y->bad = piece.len > 0 && !add_param(y, piece);
    }
}

/* The first of that name; a parameter without '=' has an empty value, not none. */
static struct slice param(const struct l7_query *y, const struct l7_value_match *m)
{
    for (size_t i = 0; i < y->count; i++) {
        if (same(y->params[i].name, m->name, m->name_len)) {
            return y->params[i].value;
        }
    }
    return (struct slice){NULL, 0};
}

static bool query_holds(struct l7_try *t, const struct l7_match *m)
{
    if (m->query_count > 0 && !t->query->read) {
        read_query(t->query, t->q->query);
        t->unknown += t->query->bad;
    }
    for (size_t i = 0; i < m->query_count; i++) {
        if (t->query->bad || !value_holds(t, &m->query[i], param(t->query, &m->query[i]))) {
            return false;
        }
    }
    return true;
}

static bool headers_hold(struct l7_try *t, const struct l7_match *m)
{
    for (size_t i = 0; i < m->header_count; i++) {
        if (!value_holds(t, &m->headers[i], l7_request_header(t->q, m->headers[i].name))) {
            return false;
        }
    }
    return true;
}

bool l7_try_rest(struct l7_try *t, const struct l7_match *m)
{
    return (*m->method == '\0' || slice_is(t->q->method, m->method)) && headers_hold(t, m) &&
           query_holds(t, m);
}

bool l7_match_holds(const struct l7_match *m, const struct l7_request *q, unsigned *unknown)
{
    struct l7_query query = {.read = false};
    struct l7_try t = {.q = q, .query = &query};
    bool holds = l7_try_path(&t, &m->path) && l7_try_rest(&t, m);

    *unknown += t.unknown;
    return holds;
}
