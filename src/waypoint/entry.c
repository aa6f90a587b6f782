/* SPDX-License-Identifier: Apache-2.0 */
#include "waypoint/entry.h"

#include "base/mem.h"

void entry_start(struct entry *e, const struct entry *take_facts, const struct entry_ops *ops)
{
    *e = *take_facts;
    e->ops = ops;
    list_append(&e->engine->entries, &e->in_engine);
    e->engine->entry_count++;
}

void entry_drop(struct entry *facts)
{
    identity_unref(facts->peer);
    service_unref(facts->service);
    workload_unref(facts->workload);
    workload_unref(facts->source);
    if (facts->baggage) {
        baggage_side_fini(facts->baggage);
        mem_free(MOVE(facts->baggage));
    }
    facts->judges = l7_service_unref(facts->judges);
    facts->peer = NULL;
    facts->service = NULL;
    facts->workload = NULL;
    facts->source = NULL;
}

void entry_stop(struct entry *e)
{
    list_remove(&e->in_engine);
    e->engine->entry_count--;
    if (e->plain) {
        atomic_fetch_sub_explicit(&e->engine->load, 1, memory_order_relaxed);
    }
    entry_drop(e);
}

struct l7_conn entry_conn(const struct entry *e)
{
    return (struct l7_conn){.peer = e->peer,
                            .source = e->client,
                            .remote = e->client.ip,
                            .destination = e->destination};
}

const struct l7_service *entry_bound(const struct entry *e)
{
    const struct l7 *l7 = engine_l7(e->engine);

    return l7 && e->service ? l7_service_find(l7, e->service->key) : NULL;
}

const struct l7_service *entry_judges(struct entry *e)
{
    const struct l7_service *now = entry_bound(e);

    if (now && now->binding && now != e->judges) {
        l7_service_unref(e->judges);
        e->judges = l7_service_ref(now);
    }
    return e->judges;
}

bool entry_is_unbound(const struct entry *e)
{
    const struct l7_service *bound = entry_bound(e);

    return e->service && (!bound || !bound->binding);
}

bool entry_was_left(const struct entry *e)
{
    const struct world *w = engine_world(e->engine);

    if (!e->service || !w) {
        return false;
    }
    const struct service *now = world_service_named(w, e->service->ns, e->service->hostname);
    return !now || !gateway_equal(now->waypoint, e->service->waypoint) || entry_is_unbound(e);
}

bool entry_is_guarded(const struct entry *e)
{
    const struct world *w = engine_world(e->engine);
    const struct workload *now = e->workload && w ? world_workload(w, e->workload->uid) : NULL;

    return now && workload_is_guarded(now, e->destination.port);
}

void entry_sides(const struct entry *e, struct access_side *src)
{
    if (e->baggage) {
        baggage_side_fill(e->baggage, src);
    }
    side_from_workload(src, e->source);
    src->identity = e->peer ? e->peer->uri : NULL;
    src->principal = src->identity;
}
