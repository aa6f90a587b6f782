/* SPDX-License-Identifier: Apache-2.0 */
#include "obs/world_json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

static void set_unless_empty(struct json *o, const char *key, const char *text)
{
    if (text && *text) {
        json_set_str(o, key, text);
    }
}

static void append_ip(struct json *array, const char *prefix, const struct ip *ip)
{
    char text[IP_TEXT];
    AUTO(strbuf) struct strbuf b = {0};

    strbuf_printf(&b, "%s%s", prefix, ip_format(ip, text));
    json_append_str(array, strbuf_text(&b));
}

static struct json *gateway_json(const struct gateway *g)
{
    struct json *o = json_new_object();
    AUTO(strbuf) struct strbuf b = {0};
    char ip[IP_TEXT];

    if (g->kind == GATEWAY_HOSTNAME) {
        strbuf_printf(&b, "%s/%s", g->ns, g->hostname);
    } else {
        strbuf_printf(&b, "%s/%s", g->network, ip_format(&g->ip, ip));
    }
    json_set_str(o, "destination", strbuf_text(&b));
    json_set_int(o, "hboneMtlsPort", g->hbone_mtls_port);
    return o;
}

static void set_locality(struct json *o, const struct workload *w)
{
    struct json *l = json_new_object();

    set_unless_empty(l, "region", w->region);
    set_unless_empty(l, "zone", w->zone);
    set_unless_empty(l, "subzone", w->subzone);
    if (json_count(l) > 0) {
        json_set(o, "locality", l);
    } else {
        json_unref(l);
    }
}

static void set_lists(struct json *o, const struct workload *w)
{
    struct json *ips = json_new_array();
    struct json *services = json_new_array();
    struct json *policies = json_new_array();

    for (unsigned i = 0; i < w->ip_count; i++) {
        append_ip(ips, "", &w->ips[i]);
    }
    for (unsigned i = 0; i < w->service_count; i++) {
        json_append_str(services, w->services[i].key);
    }
    for (unsigned i = 0; i < w->policy_count; i++) {
        json_append_str(policies, w->policies[i]);
    }
    json_set(o, "workloadIps", ips);
    json_set(o, "services", services);
    json_set(o, "authorizationPolicies", policies);
    if (w->service_count == 0) {
        (void)json_remove(o, "services");
    }
    if (w->policy_count == 0) {
        (void)json_remove(o, "authorizationPolicies");
    }
}

static struct json *workload_json(const struct workload *w)
{
    struct json *o = json_new_object();

    set_lists(o, w);
    json_set_str(o, "protocol", w->tunnel_protocol == TUNNEL_HBONE ? "HBONE" : "TCP");
    json_set_str(o, "networkMode", w->network_mode == NETWORK_HOST ? "HostNetwork" : "Standard");
    json_set_str(o, "name", w->name);
    json_set_str(o, "namespace", w->identity->ns);
    json_set_str(o, "status", w->status == WORKLOAD_HEALTHY ? "Healthy" : "Unhealthy");
    json_set_str(o, "clusterId", w->cluster_id);
    json_set_int(o, "capacity", w->capacity);
    set_unless_empty(o, "uid", w->uid);
    set_unless_empty(o, "trustDomain", w->identity->trust_domain);
    set_unless_empty(o, "serviceAccount", w->identity->service_account);
    set_unless_empty(o, "network", w->network);
    set_unless_empty(o, "workloadName", w->workload_name);
    set_unless_empty(o, "workloadType", workload_type_name(w));
    set_unless_empty(o, "canonicalName", w->canonical_name);
    set_unless_empty(o, "canonicalRevision", w->canonical_revision);
    set_unless_empty(o, "hostname", w->hostname);
    set_unless_empty(o, "node", w->node);
    if (w->native_tunnel) {
        json_set_bool(o, "nativeTunnel", true);
    }
    if (gateway_is_set(w->waypoint)) {
        json_set(o, "waypoint", gateway_json(w->waypoint));
    }
    if (gateway_is_set(w->network_gateway)) {
        json_set(o, "networkGateway", gateway_json(w->network_gateway));
    }
    if (w->app_tunnel != APP_TUNNEL_ABSENT) {
        struct json *t = json_new_object();
        json_set_str(t, "protocol", w->app_tunnel == APP_TUNNEL_PROXY ? "PROXY" : "NONE");
        json_set(t, "port", w->app_tunnel_port > 0 ? json_new_int(w->app_tunnel_port) : NULL);
        json_set(o, "applicationTunnel", t);
    }
    set_locality(o, w);
    return o;
}

static struct json *ports_json(const struct port_pair *ports, unsigned count)
{
    struct json *o = json_new_object();
    char key[8];

    for (unsigned i = 0; i < count; i++) {
        (void)snprintf(key, sizeof(key), "%u", ports[i].service_port);
        json_set_int(o, key, ports[i].target_port);
    }
    return o;
}

static void set_vips(struct json *o, const struct service *s)
{
    struct json *vips = json_new_array();
    struct json *cidrs = json_new_array();
    AUTO(strbuf) struct strbuf prefix = {0};
    char cidr[IP_PREFIX_TEXT];

    for (unsigned i = 0; i < s->vip_count; i++) {
        const struct service_vip *v = &s->vips[i];
        strbuf_clear(&prefix);
        if (service_vip_is_cidr(v)) {
            struct json *c = json_new_object();
            json_set_str(c, "network", v->network);
            json_set_str(c, "cidr", ip_prefix_format(&v->prefix, cidr));
            json_append(cidrs, c);
        } else {
            strbuf_printf(&prefix, "%s/", v->network);
            append_ip(vips, strbuf_text(&prefix), &v->prefix.ip);
        }
    }
    json_set(o, "vips", vips);
    if (json_count(cidrs) > 0) {
        json_set(o, "cidrVips", cidrs);
    } else {
        json_unref(cidrs);
    }
}

static void set_endpoints(struct json *o, const struct world *w, const struct service *s)
{
    struct json *all = json_new_object();
    struct world_cursor c = {0};
    struct backend b;

    while (world_each_backend(w, s->key, &c, &b)) {
        struct json *one = json_new_object();
        json_set_str(one, "workloadUid", b.workload->uid);
        json_set(one, "port", ports_json(b.member->ports, b.member->port_count));
        json_set_str(one, "status",
                     b.workload->status == WORKLOAD_HEALTHY ? "Healthy" : "Unhealthy");
        json_set(all, b.workload->uid, one);
    }
    json_set(o, "endpoints", all);
}

static void set_balancing(struct json *o, const struct service *s)
{
    static const char *const scopes[] = {"Unspecified", "Region",  "Zone",   "Subzone",
                                         "Node",        "Cluster", "Network"};
    static const char *const modes[] = {"Standard", "Strict", "Failover", "Passthrough"};
    struct json *lb = json_new_object();
    struct json *preference = json_new_array();

    for (unsigned i = 0; i < s->scope_count; i++) {
        json_append_str(preference, scopes[s->scopes[i]]);
    }
    json_set(lb, "routingPreferences", preference);
    json_set_str(lb, "mode", modes[s->mode]);
    json_set_str(lb, "healthPolicy", s->health == HEALTH_ALLOW_ALL ? "AllowAll" : "OnlyHealthy");
    json_set(o, "loadBalancer", lb);
}

static void set_waypoints(struct json *o, const struct service *s)
{
    struct json *weighted = json_new_array();

    if (gateway_is_set(s->waypoint)) {
        json_set(o, "waypoint", gateway_json(s->waypoint));
    }
    for (unsigned i = 0; i < s->weighted_count; i++) {
        struct json *one = json_new_object();
        json_set(one, "destination", gateway_json(&s->weighted[i].gateway));
        json_set_int(one, "weight", s->weighted[i].weight);
        json_append(weighted, one);
    }
    if (json_count(weighted) > 0) {
        json_set(o, "weightedWaypoints", weighted);
    } else {
        json_unref(weighted);
    }
}

static struct json *service_json(const struct world *world, const struct service *s)
{
    static const char *const families[] = {NULL, "IPv4", "IPv6", "Dual"};
    struct json *o = json_new_object();
    struct json *sans = json_new_array();

    json_set_str(o, "name", s->name);
    json_set_str(o, "namespace", s->ns);
    json_set_str(o, "hostname", s->hostname);
    set_vips(o, s);
    json_set(o, "ports", ports_json(s->ports, s->port_count));
    set_endpoints(o, world, s);
    for (unsigned i = 0; i < s->san_count; i++) {
        json_append_str(sans, s->sans[i]);
    }
    json_set(o, "subjectAltNames", sans);
    json_set_bool(o, "canonical", s->canonical);
    json_set_str(o, "visibility", s->visibility == VISIBLE_NAMESPACE ? "Namespace" : "Public");
    if (s->has_load_balancing) {
        set_balancing(o, s);
    }
    set_unless_empty(o, "ipFamilies", families[s->ip_families]);
    set_waypoints(o, s);
    return o;
}

/* ---- policies */

static void set_strings(struct json *o, const char *key, const struct str_matches *m)
{
    static const char *const kinds[] = {NULL, "Exact", "Prefix", "Suffix", "Presence"};
    struct json *all = json_new_array();

    for (size_t i = 0; i < m->count; i++) {
        struct json *one = json_new_object();
        json_set(one, kinds[m->at[i].kind],
                 m->at[i].kind == MATCH_PRESENCE ? json_new_array() : json_new_str(m->at[i].text));
        json_append(all, one);
    }
    json_set(o, key, all);
}

static void set_prefixes(struct json *o, const char *key, const struct ip_matches *m)
{
    struct json *all = json_new_array();
    char cidr[IP_PREFIX_TEXT];

    for (size_t i = 0; i < m->count; i++) {
        json_append_str(all, ip_prefix_format(&m->at[i], cidr));
    }
    json_set(o, key, all);
}

static void set_ports(struct json *o, const char *key, const struct port_matches *m)
{
    struct json *all = json_new_array();

    for (size_t i = 0; i < m->count; i++) {
        json_append(all, json_new_int(m->at[i]));
    }
    json_set(o, key, all);
}

static void set_accounts(struct json *o, const char *key, const struct account_matches *m)
{
    struct json *all = json_new_array();

    for (size_t i = 0; i < m->count; i++) {
        struct json *one = json_new_object();
        json_set_str(one, "namespace", m->at[i].ns);
        json_set_str(one, "serviceAccount", m->at[i].service_account);
        json_append(all, one);
    }
    json_set(o, key, all);
}

static void drop_empty(struct json *o)
{
    static const char *const keys[] = {
        "namespaces",       "notNamespaces",       "principals",      "notPrincipals",
        "sourceIps",        "notSourceIps",        "destinationIps",  "notDestinationIps",
        "destinationPorts", "notDestinationPorts", "serviceAccounts", "notServiceAccounts"};

    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        if (json_count(json_get(o, keys[i])) == 0) {
            (void)json_remove(o, keys[i]);
        }
    }
}

static struct json *match_json(const struct policy_match *m)
{
    struct json *o = json_new_object();

    set_strings(o, "namespaces", &m->namespaces);
    set_strings(o, "notNamespaces", &m->not_namespaces);
    set_strings(o, "principals", &m->principals);
    set_strings(o, "notPrincipals", &m->not_principals);
    set_prefixes(o, "sourceIps", &m->source_ips);
    set_prefixes(o, "notSourceIps", &m->not_source_ips);
    set_prefixes(o, "destinationIps", &m->destination_ips);
    set_prefixes(o, "notDestinationIps", &m->not_destination_ips);
    set_ports(o, "destinationPorts", &m->destination_ports);
    set_ports(o, "notDestinationPorts", &m->not_destination_ports);
    set_accounts(o, "serviceAccounts", &m->service_accounts);
    set_accounts(o, "notServiceAccounts", &m->not_service_accounts);
    drop_empty(o);
    return o;
}

static struct json *rule_json(const struct policy_rule *r)
{
    struct json *clauses = json_new_array();

    for (size_t i = 0; i < r->clause_count; i++) {
        struct json *matches = json_new_array();
        for (size_t k = 0; k < r->clauses[i].match_count; k++) {
            json_append(matches, match_json(&r->clauses[i].matches[k]));
        }
        json_append(clauses, matches);
    }
    return clauses;
}

static struct json *policy_json(const struct policy *p)
{
    static const char *const scopes[] = {"Global", "Namespace", "WorkloadSelector"};
    struct json *o = json_new_object();
    struct json *rules = json_new_array();

    for (size_t i = 0; i < p->rule_count; i++) {
        json_append(rules, rule_json(&p->rules[i]));
    }
    json_set_str(o, "name", p->name);
    json_set_str(o, "namespace", p->ns);
    json_set_str(o, "scope", scopes[p->scope]);
    json_set_str(o, "action", p->action == POLICY_DENY ? "Deny" : "Allow");
    json_set(o, "rules", rules);
    json_set_bool(o, "dryRun", p->dry_run);
    if (p->broken) { /* ours: its subjects are denied until a good version comes */
        json_set_bool(o, "broken", true);
    }
    return o;
}

/* ---- whole sections */

struct row {
    const char *key;
    const void *item;
};

static int by_key(const void *a, const void *b)
{
    return strcmp(((const struct row *)a)->key, ((const struct row *)b)->key);
}

static void dump_workloads(struct json *into, const struct world *w)
{
    size_t n = world_workload_count(w);
    struct row *rows = mem_array(n, sizeof(*rows));
    struct json *all = json_new_array();
    struct world_cursor c = {0};

    for (size_t i = 0; i < n; i++) {
        const struct workload *x = world_each_workload(w, &c);
        rows[i] = (struct row){x->uid, x};
    }
    qsort(rows, n, sizeof(*rows), by_key);
    for (size_t i = 0; i < n; i++) {
        json_append(all, workload_json(rows[i].item));
    }
    mem_free(rows);
    json_set(into, "workloads", all);
}

static void dump_services(struct json *into, const struct world *w)
{
    size_t n = world_service_count(w);
    struct row *rows = mem_array(n, sizeof(*rows));
    struct json *all = json_new_array();
    struct world_cursor c = {0};

    for (size_t i = 0; i < n; i++) {
        const struct service *x = world_each_service(w, &c);
        rows[i] = (struct row){x->hostname, x};
    }
    qsort(rows, n, sizeof(*rows), by_key);
    for (size_t i = 0; i < n; i++) {
        json_append(all, service_json(w, rows[i].item));
    }
    mem_free(rows);
    json_set(into, "services", all);
}

static void dump_policies(struct json *into, const struct world *w)
{
    size_t n = world_policy_count(w);
    struct row *rows = mem_array(n, sizeof(*rows));
    struct json *all = json_new_array();
    struct world_cursor c = {0};

    for (size_t i = 0; i < n; i++) {
        const struct policy *x = world_each_policy(w, &c);
        rows[i] = (struct row){x->key, x};
    }
    qsort(rows, n, sizeof(*rows), by_key);
    for (size_t i = 0; i < n; i++) {
        json_append(all, policy_json(rows[i].item));
    }
    mem_free(rows);
    json_set(into, "policies", all);
}

void world_json(struct json *into, const struct world *w)
{
    dump_workloads(into, w);
    dump_services(into, w);
    dump_policies(into, w);
}
