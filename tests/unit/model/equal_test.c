/* SPDX-License-Identifier: Apache-2.0 */
/* Equality decides whether a resync changes anything: a field that it forgets would never update. */
#include <string.h>

#include "base/mem.h"
#include "mesh.h"
#include "model/service.h"
#include "model/workload.h"
#include "t.h"

static const struct ip ips[] = {{IP_V4, {10, 0, 0, 1}}, {IP_V4, {10, 0, 0, 2}}};
static const struct port_pair ports[] = {{80, 8080}, {81, 8081}};
static const struct workload_service members[] = {
    {"a/x", ports, 1}, {"a/x", ports, 2}, {"a/y", ports, 1}, {"a/x", ports + 1, 1}};
static const char *const names[] = {"a/p", "a/q"};
static const struct gateway gateways[] = {
    {.kind = GATEWAY_ADDRESS, .hbone_mtls_port = 1, .ip = {IP_V4, {1, 2, 3, 4}}, .network = "n"},
    {.kind = GATEWAY_ADDRESS, .hbone_mtls_port = 2, .ip = {IP_V4, {1, 2, 3, 4}}, .network = "n"},
    {.kind = GATEWAY_ADDRESS, .hbone_mtls_port = 1, .ip = {IP_V4, {1, 2, 3, 5}}, .network = "n"},
    {.kind = GATEWAY_ADDRESS, .hbone_mtls_port = 1, .ip = {IP_V4, {1, 2, 3, 4}}, .network = "m"},
    {.kind = GATEWAY_HOSTNAME, .hbone_mtls_port = 1, .ns = "n", .hostname = "h"},
    {.kind = GATEWAY_HOSTNAME, .hbone_mtls_port = 1, .ns = "m", .hostname = "h"},
    {.kind = GATEWAY_HOSTNAME, .hbone_mtls_port = 1, .ns = "n", .hostname = "i"},
};

static const struct workload *make_workload(struct intern *pool, const struct workload *from)
{
    const struct workload *made = NULL;

    return workload_new(&made, from, pool, NULL) < 0 ? NULL : made;
}

/* Like base, and unlike it, from two makings each. */
static bool differs(struct intern *pool, const struct workload *base, const struct workload *other)
{
    AUTO(workload) const struct workload *a = make_workload(pool, base);
    AUTO(workload) const struct workload *b = make_workload(pool, base);
    AUTO(workload) const struct workload *c = make_workload(pool, other);
    AUTO(workload) const struct workload *d = make_workload(pool, other);

    return workload_equal(a, b) && workload_equal(c, d) && !workload_equal(a, c) &&
           !workload_equal(c, a);
}

TEST(a_workload_that_differs_anywhere_is_another)
{
    static const size_t texts[] = {
        offsetof(struct workload, uid),
        offsetof(struct workload, version),
        offsetof(struct workload, name),
        offsetof(struct workload, hostname),
        offsetof(struct workload, network),
        offsetof(struct workload, node),
        offsetof(struct workload, cluster_id),
        offsetof(struct workload, canonical_name),
        offsetof(struct workload, canonical_revision),
        offsetof(struct workload, workload_name),
        offsetof(struct workload, region),
        offsetof(struct workload, zone),
        offsetof(struct workload, subzone),
    };
    static const size_t bytes[] = {
        offsetof(struct workload, capacity),      offsetof(struct workload, tunnel_protocol),
        offsetof(struct workload, type),          offsetof(struct workload, status),
        offsetof(struct workload, network_mode),  offsetof(struct workload, app_tunnel),
        offsetof(struct workload, native_tunnel), offsetof(struct workload, app_tunnel_port),
    };
    AUTO(intern) struct intern *pool = intern_new();
    AUTO(identity) const struct identity *id = identity_new("td", "n", "s");
    AUTO(identity) const struct identity *id2 = identity_new("td", "n", "t");
    struct workload base = {.uid = "u", .identity = id, .capacity = 2};
    struct workload w;

    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        w = base;
        *(const char **)(void *)((char *)&w + texts[i]) = "other";
        CHECK(differs(pool, &base, &w));
    }
    for (size_t i = 0; i < ARRAY_LEN(bytes); i++) {
        w = base;
        *((uint8_t *)&w + bytes[i]) = 1;
        CHECK(differs(pool, &base, &w));
    }
    w = base;
    w.identity = id2;
    CHECK(differs(pool, &base, &w));
}

TEST(a_workload_s_lists_and_references_count)
{
    AUTO(intern) struct intern *pool = intern_new();
    AUTO(identity) const struct identity *id = identity_new("td", "n", "s");
    struct workload none = {.uid = "u", .identity = id};
    struct workload base = none;
    struct workload w;

    base.ips = ips;
    base.ip_count = 1;
    base.services = members;
    base.service_count = 1;
    base.policies = names;
    base.policy_count = 1;
    CHECK(differs(pool, &none, &base));
    w = base;
    w.ips = ips + 1;
    CHECK(differs(pool, &base, &w));
    w = base;
    w.ip_count = 2;
    CHECK(differs(pool, &base, &w));
    w = base;
    w.policies = names + 1;
    CHECK(differs(pool, &base, &w));
    w = base;
    w.policy_count = 2;
    CHECK(differs(pool, &base, &w));
    for (size_t i = 1; i < ARRAY_LEN(members); i++) {
        w = base;
        w.services = members + i;
        CHECK(differs(pool, &base, &w));
    }
    w = base;
    w.service_count = 2;
    CHECK(differs(pool, &base, &w));
    for (size_t i = 0; i < ARRAY_LEN(gateways); i++) {
        for (size_t k = 0; k < ARRAY_LEN(gateways); k++) {
            struct workload a = none, b = none;
            a.waypoint = b.network_gateway = &gateways[i];
            b.waypoint = a.network_gateway = &gateways[k];
            CHECK(i == k || differs(pool, &a, &b));
            CHECK_INT(gateway_equal(&gateways[i], &gateways[k]), i == k);
        }
        w = none;
        w.waypoint = &gateways[i];
        CHECK(differs(pool, &none, &w));
    }
}

TEST(a_service_that_differs_anywhere_is_another)
{
    static const struct svc base = {.vips = "n|10.0.0.1",
                                    .ports = "80:1",
                                    .sans = "a",
                                    .scopes = "RZ",
                                    .waypoint = "shop/w:1",
                                    .weighted = "1*shop/w:1"};
    static const struct {
        size_t offset;
        const char *text;
    } texts[] = {
        {offsetof(struct svc, ns), "prod"},
        {offsetof(struct svc, host), "other"},
        {offsetof(struct svc, vips), "n|10.0.0.2"},
        {offsetof(struct svc, vips), "m|10.0.0.1"},
        {offsetof(struct svc, vips), "n|10.0.0.0/8"},
        {offsetof(struct svc, vips), ""},
        {offsetof(struct svc, ports), "80:2"},
        {offsetof(struct svc, ports), "80:1,81:1"},
        {offsetof(struct svc, sans), "b"},
        {offsetof(struct svc, sans), "a,b"},
        {offsetof(struct svc, scopes), "ZR"},
        {offsetof(struct svc, scopes), "R"},
        {offsetof(struct svc, waypoint), "shop/w:2"},
        {offsetof(struct svc, waypoint), ""},
        {offsetof(struct svc, weighted), "2*shop/w:1"},
        {offsetof(struct svc, weighted), "1*shop/v:1"},
        {offsetof(struct svc, version), "2"},
    };
    static const struct svc flags[] = {
        {.mode = BALANCE_STRICT}, {.families = FAMILIES_IPV4},
        {.any_health = true},     {.canonical = true},
        {.hidden = true},
    };
    AUTO(mesh) struct mesh m;

    mesh_init(&m);
    AUTO(service) const struct service *a = mesh_make_svc(&m, &base);
    AUTO(service) const struct service *same = mesh_make_svc(&m, &base);
    AUTO(service) const struct service *plain = mesh_make_svc(&m, &(struct svc){.ns = NULL});
    CHECK(service_equal(a, same) && !service_equal(a, plain));
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct svc s = base;
        *(const char **)(void *)((char *)&s + texts[i].offset) = texts[i].text;
        AUTO(service) const struct service *b = mesh_make_svc(&m, &s);
        printf("# %s\n", texts[i].text);
        CHECK(!service_equal(a, b));
    }
    for (size_t i = 0; i < ARRAY_LEN(flags); i++) {
        AUTO(service) const struct service *b = mesh_make_svc(&m, &flags[i]);
        CHECK(!service_equal(plain, b));
    }
}

TEST(limits_of_workloads_and_services)
{
    AUTO(intern) struct intern *pool = intern_new();
    AUTO(identity) const struct identity *id = identity_new("td", "n", "s");
    static const struct workload_service bad = {"no-slash", NULL, 0};
    static const struct workload_service wide = {"a/x", NULL, WORKLOAD_PORTS_MAX + 1};
    const struct workload *w = NULL;
    const struct service *s = NULL;

    CHECK_INT(workload_new(&w, &(struct workload){.uid = "", .identity = id}, pool, NULL),
              -ERR_SYNTAX);
    CHECK_INT(workload_new(&w, &(struct workload){.identity = id}, pool, NULL), -ERR_SYNTAX);
    CHECK_INT(workload_new(&w,
                           &(struct workload){
                               .uid = "u", .identity = id, .services = &bad, .service_count = 1},
                           pool, NULL),
              -ERR_SYNTAX);
    CHECK_INT(workload_new(&w,
                           &(struct workload){
                               .uid = "u", .identity = id, .services = &wide, .service_count = 1},
                           pool, NULL),
              -ERR_LIMIT);
    CHECK_INT(workload_new(
                  &w,
                  &(struct workload){.uid = "u", .identity = id, .ip_count = WORKLOAD_IPS_MAX + 1},
                  pool, NULL),
              -ERR_LIMIT);
    CHECK_INT(service_new(&s, &(struct service){.ns = "n"}, pool, NULL), -ERR_SYNTAX);
    CHECK_INT(service_new(&s, &(struct service){.hostname = "h", .vip_count = SERVICE_VIPS_MAX + 1},
                          pool, NULL),
              -ERR_LIMIT);
    CHECK(!w && !s);
}
