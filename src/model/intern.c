/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pool holds one reference to everything it knows and lets go in sweeps, so that the threads
 * which drop the other references never touch the table.
 */
#include "model/intern.h"

#include <string.h>

#include "base/map.h"
#include "base/mem.h"
#include "model/const_int.h"

enum { SWEEP_MIN = 1024 };

struct entry { /* of a string */
    struct aref refs;
    struct map_node node; /* the pool's thread only */
    char text[];
};

struct person { /* of an identity: it cannot carry a node of ours */
    struct map_node node;
    const struct identity *id;
};

struct intern {
    struct map texts;
    struct map identities;
    size_t sweep_at;
};

struct intern *intern_new(void)
{
    struct intern *pool = mem_new(struct intern);

    map_init(&pool->texts);
    map_init(&pool->identities);
    pool->sweep_at = SWEEP_MIN;
    return pool;
}

static struct entry *entry_of(const char *text)
{
    return container_of((char *)unconst(text), struct entry, text);
}

static void drop_text(struct intern *pool, struct entry *e)
{
    map_remove(&pool->texts, &e->node);
    text_unref(e->text);
}

static void drop_identity(struct intern *pool, struct person *p)
{
    map_remove(&pool->identities, &p->node);
    identity_unref(p->id);
    mem_free(p);
}

void intern_free(struct intern *pool)
{
    if (!pool) {
        return;
    }
    map_for_each (n, &pool->texts) {
        drop_text(pool, container_of(n, struct entry, node));
    }
    map_for_each (n, &pool->identities) {
        drop_identity(pool, container_of(n, struct person, node));
    }
    map_fini(&pool->texts);
    map_fini(&pool->identities);
    mem_free(pool);
}

/* Nobody else can raise a count that only the pool holds: others get references from the pool, on
 * this thread, or copy one they have. */
static bool is_only_ours(const struct aref *refs)
{
    return atomic_load_explicit(&refs->n, memory_order_acquire) == 1;
}

void intern_sweep(struct intern *pool)
{
    map_for_each (n, &pool->texts) {
        struct entry *e = container_of(n, struct entry, node);
        if (is_only_ours(&e->refs)) {
            drop_text(pool, e);
        }
    }
    map_for_each (n, &pool->identities) {
        struct person *p = container_of(n, struct person, node);
        if (is_only_ours(&p->id->refs)) {
            drop_identity(pool, p);
        }
    }
    pool->sweep_at = intern_count(pool) * 2 > SWEEP_MIN ? intern_count(pool) * 2 : SWEEP_MIN;
}

static void make_room(struct intern *pool)
{
    if (intern_count(pool) >= pool->sweep_at) {
        intern_sweep(pool);
    }
}

size_t intern_count(const struct intern *pool)
{
    return pool->texts.count + pool->identities.count;
}

const char *intern_text(struct intern *pool, const char *s)
{
    size_t len = s ? strlen(s) : 0;
    uint64_t h = map_hash(s, len);
    struct entry *e;

    for (struct map_node *n = map_find(&pool->texts, h); n; n = map_find_next(n)) {
        e = container_of(n, struct entry, node);
        if (strcmp(e->text, s ? s : "") == 0) {
            return text_ref(e->text);
        }
    }
    make_room(pool);
    e = mem_alloc(sizeof(*e) + len + 1);
    if (len > 0) {
        memcpy(e->text, s, len);
    }
    aref_init(&e->refs);
    map_insert(&pool->texts, &e->node, h);
    return text_ref(e->text);
}

const char *text_ref(const char *interned)
{
    aref_get(&entry_of(interned)->refs);
    return interned;
}

const char *text_unref(const char *interned)
{
    if (interned && aref_put(&entry_of(interned)->refs)) {
        mem_free(entry_of(interned));
    }
    return NULL;
}

static const struct identity *find_identity(struct intern *pool, const struct identity *id,
                                            uint64_t h)
{
    for (struct map_node *n = map_find(&pool->identities, h); n; n = map_find_next(n)) {
        struct person *p = container_of(n, struct person, node);
        if (identity_equal(p->id, id)) {
            return p->id;
        }
    }
    return NULL;
}

const struct identity *intern_same(struct intern *pool, const struct identity *id)
{
    uint64_t h = identity_hash(id);
    const struct identity *same = find_identity(pool, id, h);

    if (!same) {
        make_room(pool);
        struct person *p = mem_new(struct person);
        p->id = identity_ref(id);
        map_insert(&pool->identities, &p->node, h);
        same = id;
    }
    return identity_ref(same);
}

const struct identity *intern_identity(struct intern *pool, const char *trust_domain,
                                       const char *ns, const char *service_account)
{
    AUTO(identity)
    const struct identity *id = identity_new(trust_domain, ns, service_account);

    return intern_same(pool, id);
}
