/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/store.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "apiserver/kind.h"
#include "apiserver/object.h"
#include "base/mem.h"
#include "io/task.h"

struct shelf { /* the objects of one kind, sorted */
    struct object **at;
    size_t count;
    size_t room;
};

struct store {
    struct shelf *shelves; /* one a kind */
    uint64_t rv;
    uint64_t durable;
    uint64_t floor; /* changes floor + 1 .. rv are in the window */
    size_t window_bytes;
    struct list waiters;
    struct task *writer; /* NULL: nobody writes, whoever owns the store says what is durable */
    struct store_change window[STORE_WINDOW]; /* by rv, modulo its size */
};

_Static_assert((STORE_WINDOW & (STORE_WINDOW - 1)) == 0, "indexed by mask");

struct store *store_new(void)
{
    struct store *s = mem_new(struct store);

    s->shelves = mem_array(kind_count, sizeof(*s->shelves));
    list_init(&s->waiters);
    return s;
}

static struct store_change *slot(const struct store *s, uint64_t rv)
{
    const struct store_change *c = &s->window[rv & (STORE_WINDOW - 1)];

    return (struct store_change *)(uintptr_t)c;
}

static size_t cost(const struct store_change *c)
{
    return (c->was ? c->was->size : 0) + (c->deleted ? c->now->size : 0);
}

static void forget_oldest(struct store *s)
{
    struct store_change *c = slot(s, ++s->floor);

    s->window_bytes -= cost(c);
    c->now = object_unref(c->now);
    c->was = object_unref(c->was);
}

void store_free(struct store *s)
{
    if (!s) {
        return;
    }
    while (s->floor < s->rv) {
        forget_oldest(s);
    }
    for (size_t k = 0; k < kind_count; k++) {
        for (size_t i = 0; i < s->shelves[k].count; i++) {
            object_unref(s->shelves[k].at[i]);
        }
        mem_free(s->shelves[k].at);
    }
    mem_free(s->shelves);
    mem_free(s);
}

static struct shelf *shelf_of(const struct store *s, const struct kind *kind)
{
    return &s->shelves[kind_index(kind)];
}

/* Where the key is, or where it would go. */
static size_t place(const struct shelf *h, const char *ns, const char *name)
{
    size_t low = 0;
    size_t high = h->count;

    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (object_compare(h->at[mid], ns, name) < 0) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    return low;
}

static bool is_at(const struct shelf *h, size_t i, const char *ns, const char *name)
{
    return i < h->count && object_compare(h->at[i], ns, name) == 0;
}

static void shelf_insert(struct shelf *h, size_t i, struct object *take_o)
{
    if (h->count == h->room) {
        h->room = h->room > 0 ? h->room * 2 : 16;
        h->at = mem_resize(h->at, h->room * sizeof(struct object *));
    }
    memmove(&h->at[i + 1], &h->at[i], (h->count - i) * sizeof(struct object *));
    h->at[i] = take_o;
    h->count++;
}

static struct object *shelf_take(struct shelf *h, size_t i)
{
    struct object *o = h->at[i];

    h->count--;
    memmove(&h->at[i], &h->at[i + 1], (h->count - i) * sizeof(struct object *));
    return o;
}

int store_load(struct store *s, struct object *take_o)
{
    struct shelf *h = shelf_of(s, take_o->kind);
    size_t i = place(h, take_o->ns, take_o->name);

    if (is_at(h, i, take_o->ns, take_o->name)) {
        object_unref(take_o);
        return -ERR_EXISTS;
    }
    shelf_insert(h, i, take_o);
    return 0;
}

void store_loaded(struct store *s, uint64_t rv)
{
    assert(s->rv == 0);
    s->rv = rv;
    s->durable = rv;
    s->floor = rv;
}

uint64_t store_rv(const struct store *s)
{
    return s->rv;
}

uint64_t store_durable(const struct store *s)
{
    return s->durable;
}

bool store_accepts(const struct store *s)
{
    return s->rv - s->durable < STORE_PENDING;
}

size_t store_count(const struct store *s, const struct kind *kind)
{
    return shelf_of(s, kind)->count;
}

void store_set_durable(struct store *s, uint64_t rv)
{
    assert(rv >= s->durable && rv <= s->rv);
    s->durable = rv;
    list_for_each (n, &s->waiters) {
        task_wake(container_of(n, struct store_waiter, node)->task, WAKE_IO);
    }
}

void store_set_writer(struct store *s, struct task *writer)
{
    s->writer = writer;
}

void store_wait(struct store *s, struct store_waiter *w, struct task *task)
{
    w->task = task;
    list_append(&s->waiters, &w->node);
}

void store_unwait(struct store_waiter *w)
{
    list_remove(&w->node);
}

struct object *store_find(const struct store *s, const struct kind *kind, const char *ns,
                          const char *name)
{
    const struct shelf *h = shelf_of(s, kind);
    size_t i = place(h, ns, name);

    return is_at(h, i, ns, name) ? h->at[i] : NULL;
}

/* Makes room first, so that the window never holds more than it may. Changes that are not durable
 * stay: store_accepts keeps their number below the window's. */
static void remember(struct store *s, struct store_change c)
{
    s->rv = c.rv;
    if (s->rv - s->floor > STORE_WINDOW) {
        forget_oldest(s);
    }
    *slot(s, c.rv) = c;
    s->window_bytes += cost(&c);
    while (s->window_bytes > STORE_WINDOW_BYTES && s->floor < s->durable) {
        forget_oldest(s);
    }
    if (s->writer) {
        task_wake(s->writer, WAKE_IO);
    }
}

void store_put(struct store *s, struct object *take_o)
{
    struct shelf *h = shelf_of(s, take_o->kind);
    size_t i = place(h, take_o->ns, take_o->name);
    struct store_change c = {.rv = take_o->rv, .now = object_ref(take_o)};

    assert(take_o->rv == s->rv + 1);
    if (is_at(h, i, take_o->ns, take_o->name)) {
        c.was = h->at[i];
        h->at[i] = take_o;
    } else {
        shelf_insert(h, i, take_o);
    }
    remember(s, c);
}

void store_remove(struct store *s, struct object *take_last)
{
    struct shelf *h = shelf_of(s, take_last->kind);
    size_t i = place(h, take_last->ns, take_last->name);

    assert(take_last->rv == s->rv + 1 && is_at(h, i, take_last->ns, take_last->name));
    remember(s,
             (struct store_change){
                 .rv = take_last->rv, .now = take_last, .was = shelf_take(h, i), .deleted = true});
}

const struct store_change *store_change(const struct store *s, uint64_t rv)
{
    return rv > s->floor && rv <= s->rv ? slot(s, rv) : NULL;
}

uint64_t store_floor(const struct store *s)
{
    return s->floor;
}

static int by_key_then_age(const void *a, const void *b)
{
    const struct store_change *x = *(const struct store_change *const *)a;
    const struct store_change *y = *(const struct store_change *const *)b;
    int order = object_compare(x->now, y->now->ns, y->now->name);

    return order != 0 ? order : x->rv < y->rv ? -1 : x->rv > y->rv;
}

static bool in_namespace(const struct object *o, const char *ns)
{
    return ns[0] == '\0' || strcmp(o->ns, ns) == 0;
}

/* Of the changes after rv, the first of each key: it knows what the key held at rv. */
static void collect_past(struct cursor *c, uint64_t rv)
{
    size_t n = 0;

    c->past = mem_array((size_t)(c->store->rv - rv), sizeof(*c->past));
    for (uint64_t v = rv + 1; v <= c->store->rv; v++) {
        const struct store_change *h = slot(c->store, v);
        if (h->now->kind == c->kind && in_namespace(h->now, c->ns)) {
            c->past[n++] = h;
        }
    }
    qsort(c->past, n, sizeof(*c->past), by_key_then_age);
    for (size_t i = 0; i < n; i++) {
        const struct object *o = c->past[i]->now;
        if (i == 0 || object_compare(c->past[c->past_count - 1]->now, o->ns, o->name) != 0) {
            c->past[c->past_count++] = c->past[i];
        }
    }
}

int cursor_init(struct cursor *c, const struct store *s, const struct kind *kind, const char *ns,
                uint64_t rv)
{
    *c = (struct cursor){.store = s, .kind = kind, .ns = ns};
    if (rv > s->rv || (rv > 0 && rv < s->floor)) {
        return -ERR_NOT_FOUND;
    }
    if (rv > 0 && rv < s->rv) {
        collect_past(c, rv);
    }
    if (ns[0] != '\0') {
        c->at = place(shelf_of(s, kind), ns, "");
    }
    return 0;
}

void cursor_skip_to(struct cursor *c, const char *after_ns, const char *after_name)
{
    const struct shelf *h = shelf_of(c->store, c->kind);
    size_t i = place(h, after_ns, after_name);

    i += is_at(h, i, after_ns, after_name);
    c->at = i > c->at ? i : c->at;
    while (c->past_at < c->past_count &&
           object_compare(c->past[c->past_at]->now, after_ns, after_name) <= 0) {
        c->past_at++;
    }
}

struct object *cursor_next(struct cursor *c)
{
    const struct shelf *h = shelf_of(c->store, c->kind);

    for (;;) {
        struct object *o =
            c->at < h->count && in_namespace(h->at[c->at], c->ns) ? h->at[c->at] : NULL;
        const struct store_change *p = c->past_at < c->past_count ? c->past[c->past_at] : NULL;
        int order = !p ? -1 : !o ? 1 : object_compare(o, p->now->ns, p->now->name);

        if (order < 0) {
            c->at += o != NULL;
            return o;
        }
        c->past_at++;
        c->at += order == 0;
        if (p->was) {
            return p->was;
        }
    }
}

void cursor_fini(struct cursor *c)
{
    mem_free(c->past);
    c->past = NULL;
}
