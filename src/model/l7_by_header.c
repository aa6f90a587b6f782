/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Up to HEADERS_MAX headers are chosen, each time the one that tells most of the entries apart that are
 * left. Every entry is in one chain: that of its value of the first chosen header it asks for
 * exactly, or of the rest. A request has at most one chain a header, and the rest; these are tried
 * together in the order of the entries, so precedence is what it was.
 */
#include "model/l7_by_header.h"

#include <stdlib.h>
#include <string.h>

#include "base/map.h"
#include "base/mem.h"

enum {
    HEADERS_MAX = 4,
    CANDIDATES_MAX = 32, /* names that are looked at for each */
    DISTINCT_MIN = 8,    /* values that make a header worth a look-up */
};

#define END UINT32_MAX

struct slot { /* first END: free */
    uint32_t hash;
    uint32_t first;
    const struct l7_value_match *is; /* header and value of all in the chain */
};

struct l7_by_header {
    const struct l7_entry *entries;
    size_t count;
    size_t name_count;
    const char *names[HEADERS_MAX];
    size_t mask; /* slots - 1 */
    struct slot *slots;
    uint32_t rest;   /* first of those in no header's chain */
    uint32_t next[]; /* of the same chain, ascending; END */
};

/* ---- choosing headers */

static const struct l7_value_match *exact(const struct l7_match *m, const char *name)
{
    for (size_t i = 0; i < m->header_count; i++) {
        if (m->headers[i].kind == L7_VALUE_EXACT && strcmp(m->headers[i].name, name) == 0) {
            return &m->headers[i];
        }
    }
    return NULL;
}

static const struct l7_value_match *chosen(const struct l7_by_header *x, const struct l7_match *m)
{
    const struct l7_value_match *v = NULL;

    for (size_t i = 0; !v && i < x->name_count; i++) {
        v = exact(m, x->names[i]);
    }
    return v;
}

static bool is_listed(const char *const *names, size_t count, const char *name)
{
    bool listed = false;

    for (size_t i = 0; i < count && !listed; i++) {
        listed = strcmp(names[i], name) == 0;
    }
    return listed;
}

/* Names that entries outside of all chains ask for. */
static size_t candidates(const struct l7_by_header *x, const char *out[static CANDIDATES_MAX])
{
    size_t n = 0;

    for (size_t i = 0; i < x->count; i++) {
        const struct l7_match *m = x->entries[i].match;
        bool open = !chosen(x, m);
        for (size_t k = 0; open && k < m->header_count && n < CANDIDATES_MAX; k++) {
            const struct l7_value_match *v = &m->headers[k];
            if (v->kind == L7_VALUE_EXACT && !is_listed(out, n, v->name)) {
                out[n++] = v->name;
            }
        }
    }
    return n;
}

static int by_number(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

/* How many values of the header those entries ask for. */
static size_t distinct(const struct l7_by_header *x, const char *name, uint64_t *scratch)
{
    size_t n = 0, values = 0;

    for (size_t i = 0; i < x->count; i++) {
        const struct l7_match *m = x->entries[i].match;
        const struct l7_value_match *v = chosen(x, m) ? NULL : exact(m, name);
        if (v) {
            scratch[n++] = map_hash(v->value, v->value_len);
        }
    }
    qsort(scratch, n, sizeof(*scratch), by_number);
    for (size_t i = 0; i < n; i++) {
        values += i == 0 || scratch[i] != scratch[i - 1];
    }
    return values;
}

static bool choose_one(struct l7_by_header *x, uint64_t *scratch)
{
    const char *names[CANDIDATES_MAX];
    size_t n = candidates(x, names);
    size_t most = 0;

    for (size_t i = 0; i < n; i++) {
        size_t values = distinct(x, names[i], scratch);
        if (values >= DISTINCT_MIN && values > most) {
            most = values;
            x->names[x->name_count] = names[i];
        }
    }
    x->name_count += most > 0;
    return most > 0 && x->name_count < HEADERS_MAX;
}

/* ---- chains */

static uint32_t hash_of(const char *name, struct slice value)
{
    uint64_t h = map_hash(value.p, value.len) * 31 + map_hash_str(name);

    return (uint32_t)(h >> 32) ^ (uint32_t)h;
}

static bool is_same(const struct l7_value_match *v, const char *name, struct slice value)
{
    return v->value_len == value.len && memcmp(v->value, value.p, value.len) == 0 &&
           strcmp(v->name, name) == 0;
}

/* The chain of that value, or the free slot that it would have. */
static struct slot *find_slot(const struct l7_by_header *x, const char *name, struct slice value)
{
    uint32_t hash = hash_of(name, value);
    size_t at = hash & x->mask;

    while (x->slots[at].first != END &&
           (x->slots[at].hash != hash || !is_same(x->slots[at].is, name, value))) {
        at = (at + 1) & x->mask;
    }
    return &x->slots[at];
}

static void put_in_front(struct l7_by_header *x, uint32_t entry)
{
    const struct l7_value_match *v = chosen(x, x->entries[entry].match);
    uint32_t *first = &x->rest;

    if (v) {
        struct slice value = {v->value, v->value_len};
        struct slot *s = find_slot(x, v->name, value);
        s->hash = hash_of(v->name, value);
        s->is = v;
        first = &s->first;
    }
    x->next[entry] = *first;
    *first = entry;
}

static void make_chains(struct l7_by_header *x)
{
    size_t slots = 64;

    while (slots < x->count * 2) {
        slots *= 2;
    }
    x->mask = slots - 1;
    x->slots = mem_array(slots, sizeof(*x->slots));
    for (size_t i = 0; i < slots; i++) {
        x->slots[i].first = END;
    }
    x->rest = END;
    for (size_t i = x->count; i > 0; i--) { /* from the last, so that chains ascend */
        put_in_front(x, (uint32_t)(i - 1));
    }
}

struct l7_by_header *l7_by_header_new(const struct l7_entry *at, size_t count)
{
    struct l7_by_header *x = mem_alloc(sizeof(*x) + count * sizeof(x->next[0]));
    uint64_t *scratch = mem_array(count + 1, sizeof(*scratch));

    x->entries = at;
    x->count = count;
    while (choose_one(x, scratch)) {
    }
    mem_free(scratch);
    if (x->name_count == 0) {
        mem_free(x);
        return NULL;
    }
    make_chains(x);
    return x;
}

void l7_by_header_free(struct l7_by_header *x)
{
    if (x) {
        mem_free(x->slots);
        mem_free(x);
    }
}

/* ---- finding */

static bool holds(struct l7_try *t, const struct l7_match *m)
{
    return (m->path.kind != L7_PATH_REGEX || l7_try_path(t, &m->path)) && l7_try_rest(t, m);
}

ssize_t l7_by_header_find(const struct l7_by_header *x, struct l7_try *t)
{
    uint32_t chain[HEADERS_MAX + 1] = {x->rest};
    size_t chains = 1;

    for (size_t i = 0; i < x->name_count; i++) {
        struct slice value = l7_request_header(t->q, x->names[i]);
        chain[chains] = value.p ? find_slot(x, x->names[i], value)->first : END;
        chains += chain[chains] != END;
    }
    for (;;) {
        uint32_t *least = &chain[0];
        for (size_t i = 1; i < chains; i++) {
            least = chain[i] < *least ? &chain[i] : least;
        }
        if (*least == END) {
            return -1;
        }
        if (holds(t, x->entries[*least].match)) {
            return (ssize_t)*least;
        }
        *least = x->next[*least];
    }
}
