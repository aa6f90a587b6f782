/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Entries lie sorted by precedence, with equal paths side by side: matches of one kind whose paths
 * differ can only both hold where one prefix is longer, so the path may be compared before the rest.
 * That makes every path a range, and the index a hash of ranges. A lookup then asks for the whole
 * path, for each of its prefixes from the longest, and tries the expressions last. Many entries of one
 * path, and expressions, are looked up by header (model/l7_by_header.h).
 */
#include "model/l7_table.h"

#include <stdlib.h>
#include <string.h>

#include "base/map.h"
#include "base/mem.h"
#include "model/const_int.h"
#include "model/l7_by_header.h"
#include "model/l7_match_int.h"

enum { LINEAR_MAX = 16 };

struct range { /* entries of one kind and path; count 0: a free slot */
    uint32_t hash;
    uint32_t first;
    uint32_t count;
    uint32_t by_header; /* 1 + its place in there; 0: tried one after the other */
};

struct l7_table {
    struct aref refs;
    bool asks_query;
    size_t count;
    size_t prefix_first;   /* where the prefixes begin */
    size_t regex_first;    /* where the expressions begin */
    size_t prefix_len_max; /* of the longest prefix */
    size_t mask;           /* slots - 1 */
    struct range *slots;   /* NULL: too few entries for an index */
    struct l7_by_header **by_header;
    size_t by_header_count;
    uint32_t regex_by_header; /* of the expressions; as in a range */
    struct l7_entry entries[];
};

/* ---- precedence */

static int order(uint64_t a, uint64_t b)
{
    return (a > b) - (a < b);
}

static int path_rank(const struct l7_match *m)
{
    return m->path.kind == L7_PATH_EXACT ? 0 : m->path.kind == L7_PATH_PREFIX ? 1 : 2;
}

static int by_path(const struct l7_match *a, const struct l7_match *b)
{
    int c = path_rank(a) - path_rank(b);

    if (c != 0 || a->path.kind == L7_PATH_REGEX) {
        return c;
    }
    c = order(b->path.value_len, a->path.value_len);
    return c != 0 ? c : strcmp(a->path.value, b->path.value);
}

/* "ns/name" as one text: '-' and '.' come before '/'. */
static int by_name(const struct l7_route *a, const struct l7_route *b)
{
    size_t same = 0;

    while (a->route_ns[same] && a->route_ns[same] == b->route_ns[same]) {
        same++;
    }
    int x = a->route_ns[same] ? (unsigned char)a->route_ns[same] : '/';
    int y = b->route_ns[same] ? (unsigned char)b->route_ns[same] : '/';
    if (x != y) {
        return x - y;
    }
    return strcmp(a->route_name, b->route_name);
}

static int by_age(const struct l7_route *a, const struct l7_route *b)
{
    if (a->created_s != b->created_s) {
        return a->created_s < b->created_s ? -1 : 1;
    }
    int c = by_name(a, b);
    if (c == 0) {
        c = order(a->rule, b->rule);
    }
    return c != 0 ? c : strcmp(a->resource, b->resource);
}

static int by_precedence(const void *x, const void *y)
{
    const struct l7_entry *a = x;
    const struct l7_entry *b = y;
    int c = by_path(a->match, b->match);

    if (c == 0) {
        c = (*a->match->method == '\0') - (*b->match->method == '\0');
    }
    if (c == 0) {
        c = order(b->match->header_count, a->match->header_count);
    }
    if (c == 0) {
        c = order(b->match->query_count, a->match->query_count);
    }
    if (c == 0 && a->route != b->route) {
        c = by_age(a->route, b->route);
    }
    return c != 0 ? c : order((uintptr_t)a->match, (uintptr_t)b->match);
}

/* ---- the index */

static uint32_t path_hash(enum l7_path_kind kind, const char *path, size_t len)
{
    uint64_t h = map_hash(path, len);

    return (uint32_t)(h >> 32) ^ (uint32_t)h ^ (kind == L7_PATH_EXACT ? 0x5bd1e995u : 0);
}

static bool is_of(const struct l7_table *t, const struct range *r, enum l7_path_kind kind,
                  const char *path, size_t len)
{
    const struct l7_path_match *m = &t->entries[r->first].match->path;

    return m->kind == kind && m->value_len == len && memcmp(m->value, path, len) == 0;
}

/* What a range has as by_header. */
static uint32_t add_by_header(struct l7_table *t, size_t first, size_t count)
{
    struct l7_by_header *x =
        count > LINEAR_MAX ? l7_by_header_new(&t->entries[first], count) : NULL;

    if (!x) {
        return 0;
    }
    t->by_header =
        mem_resize((void *)t->by_header, (t->by_header_count + 1) * sizeof(struct l7_by_header *));
    t->by_header[t->by_header_count++] = x;
    return (uint32_t)t->by_header_count;
}

static void index_range(struct l7_table *t, size_t first, size_t count)
{
    const struct l7_path_match *m = &t->entries[first].match->path;
    uint32_t hash = path_hash(m->kind, m->value, m->value_len);
    size_t at = hash & t->mask;

    while (t->slots[at].count > 0) {
        at = (at + 1) & t->mask;
    }
    t->slots[at] =
        (struct range){hash, (uint32_t)first, (uint32_t)count, add_by_header(t, first, count)};
}

static void make_index(struct l7_table *t)
{
    size_t slots = 64;

    while (slots < t->regex_first * 2) {
        slots *= 2;
    }
    t->mask = slots - 1;
    t->slots = mem_array(slots, sizeof(*t->slots));
    for (size_t i = 0, end; i < t->regex_first; i = end) {
        end = i + 1;
        while (end < t->regex_first && by_path(t->entries[i].match, t->entries[end].match) == 0) {
            end++;
        }
        index_range(t, i, end - i);
    }
    t->regex_by_header = add_by_header(t, t->regex_first, t->count - t->regex_first);
}

static void fill(struct l7_table *t, const struct l7_route *const *routes, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct l7_route *r = routes[i];
        for (size_t k = 0; k < r->match_count; k++) {
            t->entries[t->count++] = (struct l7_entry){l7_route_ref(r), &r->matches[k]};
            t->asks_query = t->asks_query || r->matches[k].query_count > 0;
        }
    }
    qsort(t->entries, t->count, sizeof(t->entries[0]), by_precedence);
    for (size_t i = 0; i < t->count; i++) {
        const struct l7_path_match *m = &t->entries[i].match->path;
        t->prefix_first += m->kind == L7_PATH_EXACT;
        t->regex_first += m->kind != L7_PATH_REGEX;
        if (m->kind == L7_PATH_PREFIX && m->value_len > t->prefix_len_max) {
            t->prefix_len_max = m->value_len;
        }
    }
}

const struct l7_table *l7_table_new(const struct l7_route *const *routes, size_t count)
{
    size_t entries = 0;

    for (size_t i = 0; i < count; i++) {
        entries += routes[i]->match_count;
    }
    struct l7_table *t = mem_alloc(sizeof(*t) + entries * sizeof(t->entries[0]));
    aref_init(&t->refs);
    fill(t, routes, count);
    if (t->count > LINEAR_MAX) {
        make_index(t);
    }
    return t;
}

const struct l7_table *l7_table_ref(const struct l7_table *t)
{
    if (t) {
        aref_get(&((struct l7_table *)unconst(t))->refs);
    }
    return t;
}

const struct l7_table *l7_table_unref(const struct l7_table *t)
{
    struct l7_table *mine = unconst(t);

    if (!mine || !aref_put(&mine->refs)) {
        return NULL;
    }
    for (size_t i = 0; i < mine->count; i++) {
        (void)l7_route_unref(mine->entries[i].route); /* NULL */
    }
    for (size_t i = 0; i < mine->by_header_count; i++) {
        l7_by_header_free(mine->by_header[i]);
    }
    mem_free((void *)mine->by_header);
    mem_free(mine->slots);
    mem_free(mine);
    return NULL;
}

const struct l7_entry *l7_table_entry(const struct l7_table *t, size_t i)
{
    return i < t->count ? &t->entries[i] : NULL;
}

size_t l7_table_count(const struct l7_table *t)
{
    return t->count;
}

/* ---- finding */

static struct l7_hit scan(const struct l7_table *t, size_t from, size_t to, struct l7_try *try)
{
    for (size_t i = from; i < to; i++) {
        const struct l7_match *m = t->entries[i].match;
        if (l7_try_path(try, &m->path) && l7_try_rest(try, m)) {
            return (struct l7_hit){.route = t->entries[i].route, .match = m};
        }
    }
    return (struct l7_hit){.route = NULL};
}

static struct l7_hit look_up(const struct l7_table *t, uint32_t by_header, size_t first,
                             struct l7_try *try)
{
    ssize_t at = l7_by_header_find(t->by_header[by_header - 1], try);
    const struct l7_entry *e = at < 0 ? NULL : &t->entries[first + (size_t)at];

    return e ? (struct l7_hit){.route = e->route, .match = e->match}
             : (struct l7_hit){.route = NULL};
}

/* The entries with this very path, which the hash has found. */
static struct l7_hit scan_path(const struct l7_table *t, enum l7_path_kind kind, size_t len,
                               struct l7_try *try)
{
    uint32_t hash = path_hash(kind, try->q->path.p, len);

    for (size_t at = hash & t->mask; t->slots[at].count > 0; at = (at + 1) & t->mask) {
        const struct range *r = &t->slots[at];
        if (r->hash != hash || !is_of(t, r, kind, try->q->path.p, len)) {
            continue;
        }
        if (r->by_header > 0) {
            return look_up(t, r->by_header, r->first, try);
        }
        for (size_t i = r->first; i < r->first + r->count; i++) {
            if (l7_try_rest(try, t->entries[i].match)) {
                return (struct l7_hit){.route = t->entries[i].route, .match = t->entries[i].match};
            }
        }
        break;
    }
    return (struct l7_hit){.route = NULL};
}

static struct l7_hit scan_prefixes(const struct l7_table *t, struct l7_try *try)
{
    struct slice path = try->q->path;
    struct l7_hit hit = {.route = NULL};
    size_t len = path.len < t->prefix_len_max ? path.len : t->prefix_len_max;

    for (; !hit.route; len--) {
        if (len == 0 || len == path.len || path.p[len] == '/') {
            hit = scan_path(t, L7_PATH_PREFIX, len, try);
        }
        if (len == 0) {
            break;
        }
    }
    return hit;
}

static struct l7_hit find(const struct l7_table *t, struct l7_try *try)
{
    struct l7_hit hit;

    if (!t->slots) {
        hit = scan(t, 0, t->count, try);
    } else {
        hit = (struct l7_hit){.route = NULL};
        if (t->prefix_first > 0) {
            hit = scan_path(t, L7_PATH_EXACT, try->q->path.len, try);
        }
        if (!hit.route && t->prefix_first < t->regex_first) {
            hit = scan_prefixes(t, try);
        }
        if (!hit.route && t->regex_by_header > 0) {
            hit = look_up(t, t->regex_by_header, t->regex_first, try);
        } else if (!hit.route) {
            hit = scan(t, t->regex_first, t->count, try);
        }
    }
    hit.unknown = try->unknown;
    return hit;
}

static struct l7_hit find_with_query(const struct l7_table *t, const struct l7_request *q)
{
    struct l7_query query = {.read = false};

    return find(t, &(struct l7_try){.q = q, .query = &query});
}

struct l7_hit l7_table_find(const struct l7_table *t, const struct l7_request *q)
{
    return t->asks_query ? find_with_query(t, q) : find(t, &(struct l7_try){.q = q});
}
