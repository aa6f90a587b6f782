/* SPDX-License-Identifier: Apache-2.0 */
#include "xds/catalog.h"

#include "base/mem.h"
#include "codec/pbwrite.h"

/* Resource{version 1, resource 2, name 3}; Any{type_url 1, value 2} */
enum { RESOURCE_VERSION = 1, RESOURCE_RESOURCE = 2, RESOURCE_NAME = 3 };

struct catalog {
    struct map by_name;
    struct list order; /* oldest change first */
    struct list tombs; /* likewise */
    uint64_t seq;
    uint64_t floor;
    size_t tomb_count;
    const char *type_url;
    bool has_versions;
    uint32_t slot_count; /* ever used */
    uint32_t *free_slots;
    uint32_t free_count;
    struct strbuf scratch;
};

struct catalog *catalog_new(const char *type_url, bool has_versions)
{
    struct catalog *c = mem_new(struct catalog);

    map_init(&c->by_name);
    list_init(&c->order);
    list_init(&c->tombs);
    c->type_url = type_url;
    c->has_versions = has_versions;
    return c;
}

void catalog_free(struct catalog *c)
{
    if (!c) {
        return;
    }
    map_for_each (n, &c->by_name) {
        mem_free(container_of(n, struct catalog_entry, by_name));
    }
    map_fini(&c->by_name);
    mem_free(c->free_slots);
    strbuf_fini(&c->scratch);
    mem_free(c);
}

const char *catalog_type(const struct catalog *c)
{
    return c->type_url;
}

/* ---- slots */

static uint32_t slot_take(struct catalog *c)
{
    return c->free_count > 0 ? c->free_slots[--c->free_count] : c->slot_count++;
}

static void slot_give(struct catalog *c, uint32_t slot)
{
    if ((c->free_count & (c->free_count - 1)) == 0) { /* room for the next power of two */
        c->free_slots = mem_resize(c->free_slots, (c->free_count * 2 + 1) * sizeof(slot));
    }
    c->free_slots[c->free_count++] = slot;
}

/* ---- entries */

static struct catalog_entry *find(const struct catalog *c, struct slice name)
{
    for (struct map_node *n = map_find(&c->by_name, map_hash(name.p, name.len)); n;
         n = map_find_next(n)) {
        struct catalog_entry *e = container_of(n, struct catalog_entry, by_name);
        if (slice_is(name, e->name)) {
            return e;
        }
    }
    return NULL;
}

/* The whole of an entry: body, then name. */
static struct catalog_entry *entry_new(struct catalog *c, struct slice name, struct slice value)
{
    struct strbuf *b = &c->scratch;
    char version[XDS_VERSION_TEXT] = "";
    size_t value_end = 0;

    strbuf_clear(b);
    if (value.p) {
        if (c->has_versions) {
            (void)xds_version(value, version); /* it returns version */
        }
        pb_put_text(b, RESOURCE_VERSION, version);
        size_t any = pb_open(b, RESOURCE_RESOURCE);
        pb_put_text(b, 1, c->type_url);
        pb_put_bytes(b, 2, value.p, value.len);
        pb_close(b, any);
        value_end = b->len;
        pb_put_bytes(b, RESOURCE_NAME, name.p, name.len);
    }
    struct catalog_entry *e = mem_alloc(sizeof(*e) + b->len + name.len + 1);
    memcpy(e->body, strbuf_text(b), b->len);
    memcpy(e->body + b->len, name.p, name.len);
    memcpy(e->version, version, sizeof(version));
    e->name = e->body + b->len;
    e->body_len = (uint32_t)b->len;
    e->value_len = (uint32_t)value.len;
    e->value_at = (uint32_t)(value_end - value.len);
    list_init(&e->in_order);
    list_init(&e->in_tombs);
    return e;
}

static void entry_drop(struct catalog *c, struct catalog_entry *e)
{
    c->tomb_count -= catalog_is_gone(e);
    map_remove(&c->by_name, &e->by_name);
    list_remove(&e->in_order);
    list_remove(&e->in_tombs);
    mem_free(e);
}

static void changed(struct catalog *c, struct catalog_entry *e)
{
    e->changed = ++c->seq;
    list_remove(&e->in_order);
    list_append(&c->order, &e->in_order);
}

/* Takes the place and the slot of old, which may be NULL. */
static struct catalog_entry *replace(struct catalog *c, struct catalog_entry *old,
                                     struct slice name, struct slice value)
{
    struct catalog_entry *e = entry_new(c, name, value);

    e->slot = old ? old->slot : slot_take(c);
    if (old) {
        entry_drop(c, old);
    }
    map_insert(&c->by_name, &e->by_name, map_hash(e->name, strlen(e->name)));
    changed(c, e);
    return e;
}

bool catalog_put(struct catalog *c, const char *name, struct slice value)
{
    struct catalog_entry *old = find(c, slice_of(name));

    if (old && !catalog_is_gone(old) && slice_equal(catalog_value(old), value)) {
        return false;
    }
    (void)replace(c, old, slice_of(name), value.p ? value : slice_of(""));
    return true;
}

static void forget_oldest(struct catalog *c)
{
    struct list *n = c->tombs.next;
    struct catalog_entry *e = container_of(n, struct catalog_entry, in_tombs);

    c->floor = e->changed;
    slot_give(c, e->slot);
    entry_drop(c, e);
}

bool catalog_remove(struct catalog *c, const char *name)
{
    struct catalog_entry *old = find(c, slice_of(name));

    if (!old || catalog_is_gone(old)) {
        return false;
    }
    struct catalog_entry *e = replace(c, old, slice_of(name), (struct slice){NULL, 0});
    list_append(&c->tombs, &e->in_tombs);
    if (++c->tomb_count > CATALOG_TOMBS_MAX) {
        forget_oldest(c);
    }
    return true;
}

void catalog_touch(struct catalog *c, const char *name)
{
    struct catalog_entry *e = find(c, slice_of(name));

    if (e && !catalog_is_gone(e)) {
        changed(c, e);
    }
}

void catalog_prune(struct catalog *c, uint64_t heard)
{
    while (!list_is_empty(&c->tombs)) {
        struct catalog_entry *e = container_of(c->tombs.next, struct catalog_entry, in_tombs);
        if (e->changed > heard) {
            return;
        }
        slot_give(c, e->slot);
        entry_drop(c, e);
    }
}

/* ---- asking */

uint64_t catalog_seq(const struct catalog *c)
{
    return c->seq;
}

uint64_t catalog_floor(const struct catalog *c)
{
    return c->floor;
}

size_t catalog_count(const struct catalog *c)
{
    return c->by_name.count - c->tomb_count;
}

size_t catalog_tombs(const struct catalog *c)
{
    return c->tomb_count;
}

uint32_t catalog_slots(const struct catalog *c)
{
    return c->slot_count;
}

const struct catalog_entry *catalog_find(const struct catalog *c, struct slice name)
{
    return find(c, name);
}

const struct catalog_entry *catalog_next(const struct catalog *c, const struct catalog_entry *e)
{
    struct list *n = e->in_order.next;

    return n == &c->order ? NULL : container_of(n, struct catalog_entry, in_order);
}

/* From the end: what a client has not heard is short, what it has heard is long. */
const struct catalog_entry *catalog_after(const struct catalog *c, uint64_t since)
{
    const struct list *n = &c->order;

    while (n->prev != &c->order &&
           container_of(n->prev, struct catalog_entry, in_order)->changed > since) {
        n = n->prev;
    }
    return n == &c->order
               ? NULL
               : container_of((struct list *)(uintptr_t)n, struct catalog_entry, in_order);
}
