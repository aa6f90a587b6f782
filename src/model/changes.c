/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "base/mem.h"
#include "model/changes_int.h"

void changes_init(struct changes *c, const struct change_ops *ops, const void *base)
{
    c->ops = ops;
    c->base = base;
    list_init(&c->in_order);
    for (unsigned i = 0; i < CHANGE_KINDS_MAX; i++) {
        map_init(&c->by_key[i]);
    }
}

static void unref(const struct changes *c, unsigned kind, const void *v)
{
    if (v) {
        c->ops->owner(kind)->unref(v);
    }
}

static struct change *find(const struct changes *c, unsigned kind, const char *key, uint64_t hash)
{
    for (struct map_node *n = map_find(&c->by_key[kind], hash); n; n = map_find_next(n)) {
        struct change *x = container_of(n, struct change, by_key);
        if (strcmp(c->ops->key(kind, x->now ? x->now : x->old), key) == 0) {
            return x;
        }
    }
    return NULL;
}

static void forget(struct changes *c, struct change *x)
{
    map_remove(&c->by_key[x->kind], &x->by_key);
    list_remove(&x->in_order);
    unref(c, x->kind, x->now);
    mem_free(x);
}

void changes_fini(struct changes *c)
{
    list_for_each_safe (at, &c->in_order) {
        forget(c, container_of(at, struct change, in_order));
    }
    for (unsigned i = 0; i < CHANGE_KINDS_MAX; i++) {
        map_fini(&c->by_key[i]);
    }
}

size_t changes_count(const struct changes *c)
{
    size_t n = 0;

    for (unsigned i = 0; i < CHANGE_KINDS_MAX; i++) {
        n += c->by_key[i].count;
    }
    return n;
}

const void *changes_held(const struct changes *c, unsigned kind, const char *key)
{
    const struct change *x = find(c, kind, key, map_hash_str(key));

    return x ? x->now : c->ops->find(c->base, kind, key);
}

/* now instead of whatever is held. */
static void replace(struct changes *c, unsigned kind, const char *key, const void *now)
{
    uint64_t hash = map_hash_str(key);
    struct change *x = find(c, kind, key, hash);
    const void *old = x ? x->old : c->ops->find(c->base, kind, key);

    if (x) {
        forget(c, x);
    }
    if (old || now) {
        x = mem_new(struct change);
        *x = (struct change){.kind = kind, .old = old, .now = now};
        map_insert(&c->by_key[kind], &x->by_key, hash);
        list_append(&c->in_order, &x->in_order);
    }
}

bool changes_put(struct changes *c, unsigned kind, const void *take_v)
{
    const char *key = c->ops->key(kind, take_v);
    const void *held = changes_held(c, kind, key);

    if (held && c->ops->is_same(kind, held, take_v)) {
        unref(c, kind, take_v);
        return false;
    }
    replace(c, kind, key, take_v);
    return true;
}

bool changes_remove(struct changes *c, unsigned kind, const char *key)
{
    if (!changes_held(c, kind, key)) {
        return false;
    }
    replace(c, kind, key, NULL);
    return true;
}
