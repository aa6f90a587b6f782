/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "base/num.h"
#include "control/translate.h"

static const char *join_uid(struct arena *a, const char *const *parts, size_t count)
{
    size_t len = 0;

    for (size_t i = 0; i < count; i++) {
        len += strlen(parts[i]);
    }
    char *uid = arena_alloc(a, len + 1);
    char *at = uid;
    for (size_t i = 0; i < count; i++) {
        size_t n = strlen(parts[i]);
        memcpy(at, parts[i], n);
        at += n;
    }
    return uid;
}

/* ---- pods */

/* A named target that this pod does not have leaves the port out (contract 3.2.5). */
static void add_member(struct workload_service *out, const struct service_facts *s,
                       const struct pod_facts *f, struct arena *a)
{
    struct port_pair *ports = arena_array(a, s->port_count, sizeof(*ports));
    unsigned count = 0;

    for (unsigned i = 0; i < s->port_count; i++) {
        const struct service_port_facts *p = &s->ports[i];
        uint16_t target = p->target > 0 ? p->target : pod_facts_port(f, p->target_name);
        if (target > 0) {
            ports[count++] = (struct port_pair){p->port, target};
        }
    }
    *out = (struct workload_service){s->key, ports, count};
}

static void add_members(struct workload *w, const struct pod_facts *f, const struct pod_context *c,
                        struct arena *a)
{
    unsigned count = MIN_OF(c->service_count, (unsigned)WORKLOAD_SERVICES_MAX);
    struct workload_service *all = arena_array(a, count, sizeof(*all));

    for (unsigned i = 0; i < count; i++) {
        add_member(&all[i], c->services[i], f, a);
    }
    w->services = all;
    w->service_count = (uint16_t)count;
}

static void add_locality(struct workload *w, const struct locality *l)
{
    if (l) {
        w->region = l->region;
        w->zone = l->zone;
        w->subzone = l->subzone;
    }
}

void translate_pod(struct workload *out, const struct pod_facts *f, const struct pod_context *c,
                   struct arena *a)
{
    const char *const uid[] = {c->mesh->cluster_id, "//Pod/", f->ns, "/", f->name};

    *out = (struct workload){
        .capacity = 1,
        .tunnel_protocol = f->is_captured || f->is_native ? TUNNEL_HBONE : TUNNEL_NONE,
        .type = WORKLOAD_POD, /* whatever made it: old proxies know nothing else */
        .status = f->is_ready ? WORKLOAD_HEALTHY : WORKLOAD_UNHEALTHY,
        .network_mode = f->is_host_network ? NETWORK_HOST : NETWORK_STANDARD,
        .native_tunnel = f->is_native,
        .ip_count = (uint16_t)f->ip_count,
        .policy_count = (uint16_t)MIN_OF(c->policy_count, (unsigned)WORKLOAD_POLICIES_MAX),
        .identity = c->identity,
        .uid = join_uid(a, uid, ARRAY_LEN(uid)),
        .name = f->name,
        .network = c->network,
        .node = f->node,
        .cluster_id = c->mesh->cluster_id,
        .canonical_name = f->canonical_name,
        .canonical_revision = f->canonical_revision,
        .workload_name = f->workload_name,
        .ips = f->ips,
        .policies = c->policies,
        .waypoint = c->waypoint,
    };
    add_locality(out, c->locality);
    add_members(out, f, c, a);
}

/* ---- endpoints that are no pods */

static uint16_t slice_port_named(const struct slice_facts *slice, const char *name)
{
    for (unsigned i = 0; i < slice->port_count; i++) {
        if (strcmp(slice->ports[i].name, name) == 0) {
            return slice->ports[i].port;
        }
    }
    return 0;
}

void translate_endpoint(struct workload *out, const struct slice_facts *slice,
                        const struct slice_endpoint *e, const struct service_facts *service,
                        const struct pod_context *c, struct arena *a)
{
    const char *const uid[] = {
        c->mesh->cluster_id, "/discovery.k8s.io/EndpointSlice/", slice->ns, "/", slice->name, "/",
        e->address};
    struct port_pair *ports = arena_array(a, service->port_count, sizeof(*ports));
    struct workload_service *member = arena_alloc(a, sizeof(*member));
    unsigned count = 0;

    for (unsigned i = 0; i < service->port_count; i++) {
        uint16_t target = slice_port_named(slice, service->ports[i].name);
        if (target > 0) {
            ports[count++] = (struct port_pair){service->ports[i].port, target};
        }
    }
    *member = (struct workload_service){service->key, ports, count};
    *out = (struct workload){
        .capacity = 1,
        .status = e->is_ready ? WORKLOAD_HEALTHY : WORKLOAD_UNHEALTHY,
        .network_mode = NETWORK_HOST, /* the address may be shared with anything */
        .ip_count = 1,
        .service_count = 1,
        .identity = c->identity,
        .uid = join_uid(a, uid, ARRAY_LEN(uid)),
        .name = slice->name,
        .network = c->network,
        .cluster_id = c->mesh->cluster_id,
        .ips = &e->ip,
        .services = member,
    };
}
