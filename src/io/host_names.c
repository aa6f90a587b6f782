/* SPDX-License-Identifier: Apache-2.0 */
#include "io/host_names.h"

#include <string.h>

#include "base/map.h"
#include "base/mem.h"
#include "base/num.h"

struct known {
    struct map_node by_name;
    struct list in_age;
    struct list in_source;
    struct host_source *source; /* while it is being asked for, unless its source has gone */
    struct host_names *all;
    char *name;
    struct task task;
    struct lookup *lookup; /* NULL: settled */
    struct list waiting;
    uint64_t until_ms;
    int count; /* of addresses; negative: why there is none */
    struct diag why;
    struct ip at[HOST_NAMES_ADDRESSES];
};

struct host_names {
    struct loop *loop;
    struct resolver *resolver;
    struct map names;
    struct list by_age; /* the one asked for last comes last */
    struct host_names_stats stats;
};

struct host_names *host_names_new(struct loop *l, struct resolver *resolver)
{
    struct host_names *h = mem_new(struct host_names);

    h->loop = l;
    h->resolver = resolver;
    map_init(&h->names);
    list_init(&h->by_age);
    return h;
}

/* ---- sources */

void host_source_init(struct host_source *s)
{
    list_init(&s->asked);
    s->asking = 0;
}

static void join_source(struct known *k, struct host_source *s)
{
    list_append(&s->asked, &k->in_source);
    s->asking++;
    k->source = s;
}

static void leave_source(struct known *k)
{
    if (k->source) {
        list_remove(&k->in_source);
        k->source->asking--;
        k->source = NULL;
    }
}

void host_source_fini(struct host_source *s)
{
    list_for_each_safe (it, &s->asked) {
        leave_source(container_of(it, struct known, in_source));
    }
}

/* ---- names */

static void known_free(struct known *k)
{
    leave_source(k);
    map_remove(&k->all->names, &k->by_name);
    list_remove(&k->in_age);
    lookup_free(k->lookup);
    task_fini(&k->task);
    mem_free(k->name);
    mem_free(k);
}

void host_names_free(struct host_names *h)
{
    if (!h) {
        return;
    }
    list_for_each_safe (it, &h->by_age) {
        known_free(container_of(it, struct known, in_age));
    }
    map_fini(&h->names);
    mem_free(h);
}

struct host_names_stats host_names_stats(const struct host_names *h)
{
    struct host_names_stats s = h->stats;

    s.names = (unsigned)h->names.count;
    return s;
}

/* ---- asking */

static void settle(struct known *k, int count, const struct ip *at)
{
    uint64_t keep_ms = HOST_NAMES_FAILURE_MS;

    k->count = count;
    if (count > 0) {
        k->count = MIN_OF(count, (int)HOST_NAMES_ADDRESSES);
        memcpy(k->at, at, (size_t)k->count * sizeof(*at));
        unsigned ttl = lookup_ttl_s(k->lookup);
        keep_ms = 1000ULL * (ttl < HOST_NAMES_TTL_MIN_S   ? HOST_NAMES_TTL_MIN_S
                             : ttl > HOST_NAMES_TTL_MAX_S ? HOST_NAMES_TTL_MAX_S
                                                          : ttl);
    } else {
        k->all->stats.failed++;
    }
    k->until_ms = loop_now_ms(k->all->loop) + keep_ms;
    leave_source(k);
    lookup_free(k->lookup);
    k->lookup = NULL;
}

static void run(struct task *t, unsigned why)
{
    struct known *k = container_of(t, struct known, task);
    const struct ip *at = NULL;

    (void)why;
    int n = k->lookup ? lookup_result(k->lookup, &at, &k->why) : -EAGAIN;
    if (n == -EAGAIN) {
        return;
    }
    settle(k, n, at);
    for (struct list *it = list_take_first(&k->waiting); it; it = list_take_first(&k->waiting)) {
        task_wake(container_of(it, struct host_wait, in_name)->owner, WAKE_CHILD);
    }
}

static void ask(struct known *k, struct host_source *source)
{
    join_source(k, source);
    k->all->stats.asked++;
    k->why = (struct diag){.code = 0};
    k->lookup = lookup_new(k->all->resolver, k->name, IP_NONE, &k->task);
    task_wake(&k->task, WAKE_START);
}

static struct known *find(const struct host_names *h, const char *name)
{
    struct map_node *n = map_find(&h->names, map_hash_str(name));

    while (n && strcmp(container_of(n, struct known, by_name)->name, name) != 0) {
        n = map_find_next(n);
    }
    return n ? container_of(n, struct known, by_name) : NULL;
}

/* A place for one more: nobody waits for what is settled. False: all are being asked for. */
static bool make_room(struct host_names *h)
{
    if (h->names.count < HOST_NAMES_MAX) {
        return true;
    }
    list_for_each (it, &h->by_age) {
        struct known *k = container_of(it, struct known, in_age);
        if (!k->lookup) {
            known_free(k);
            return true;
        }
    }
    return false;
}

static struct known *known_new(struct host_names *h, const char *name, struct host_source *source)
{
    struct known *k = mem_new(struct known);

    k->all = h;
    k->name = mem_strdup(name);
    task_init(&k->task, h->loop, "host-name", run);
    list_init(&k->waiting);
    list_init(&k->in_age);
    list_append(&h->by_age, &k->in_age);
    map_insert(&h->names, &k->by_name, map_hash_str(name));
    ask(k, source);
    return k;
}

static int answer(struct known *k, const struct ip **out, struct diag *why)
{
    if (k->count < 0 && k->why.text[0]) {
        return FAIL(why, k->count, "%s", k->why.text);
    }
    if (k->count < 0) {
        return FAIL(why, k->count, "look up %s: %s", k->name, err_text(k->count));
    }
    *out = k->at;
    return k->count;
}

/* Under way, or still good. */
static bool is_current(const struct known *k)
{
    return k && (k->lookup || loop_now_ms(k->all->loop) < k->until_ms);
}

int host_names_find(struct host_names *h, const char *name, struct host_source *source,
                    struct host_wait *w, const struct ip **out, struct diag *why)
{
    struct known *k = find(h, name);

    host_wait_stop(w);
    if (!is_current(k) && (source->asking >= HOST_NAMES_OF_SOURCE || (!k && !make_room(h)))) {
        h->stats.refused++;
        return FAIL(why, -ERR_LIMIT, "%s: too many host names are being looked up", name);
    }
    if (!k) {
        k = known_new(h, name, source);
    } else if (!is_current(k)) {
        ask(k, source);
    }
    list_remove(&k->in_age);
    list_append(&h->by_age, &k->in_age);
    if (k->lookup) {
        list_append(&k->waiting, &w->in_name);
        return -EAGAIN;
    }
    return answer(k, out, why);
}

void host_wait_stop(struct host_wait *w)
{
    if (w->in_name.next) {
        list_remove(&w->in_name);
    } else {
        list_init(&w->in_name);
    }
}
