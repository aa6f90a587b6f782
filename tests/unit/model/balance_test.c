/* SPDX-License-Identifier: Apache-2.0 */
#include "model/balance.h"

#include <string.h>

#include "base/mem.h"
#include "mesh.h"
#include "t.h"

enum { DRAWS = 4000 };

/* Share of the draws that each of the pods "a", "b", "c" and nobody got, in percent. */
struct shares {
    unsigned of[3];
    unsigned nobody;
};

static struct shares draw(const struct mesh *m, const struct balance_query *base)
{
    struct shares s = {{0}, 0};

    for (unsigned i = 0; i < DRAWS; i++) {
        struct balance_query q = *base;
        struct balance_pick p;
        q.seed = i * 2654435761u;
        if (balance_choose(m->world, &q, &p)) {
            s.of[p.backend.workload->name[0] - 'a']++;
        } else {
            s.nobody++;
        }
    }
    for (int k = 0; k < 3; k++) {
        s.of[k] = (s.of[k] * 100 + DRAWS / 2) / DRAWS;
    }
    s.nobody = s.nobody * 100 / DRAWS;
    return s;
}

#define WEB .services = "shop/web.local=80:8080"

TEST(who_gets_the_connections)
{
    static const struct {
        const char *what;
        struct svc svc;
        struct pod pods[3];
        unsigned want[4]; /* a, b, c, nobody; in percent */
    } rows[] = {
        {"equal", {.ports = "80:8080"}, {{.name = "a", WEB}, {.name = "b", WEB}}, {50, 50, 0, 0}},
        {"weights",
         {.ports = "80:8080"},
         {{.name = "a", WEB, .weight = 3}, {.name = "b", WEB}},
         {75, 25, 0, 0}},
        {"weight zero",
         {.ports = "80:8080"},
         {{.name = "a", WEB, .weight = -1}, {.name = "b", WEB}},
         {0, 100, 0, 0}},
        {"all zero", {.ports = "80:8080"}, {{.name = "a", WEB, .weight = -1}}, {0, 0, 0, 100}},
        {"no endpoint", {.ports = "80:8080"}, {{.name = "a"}}, {0, 0, 0, 100}},
        {"unhealthy",
         {.ports = "80:8080"},
         {{.name = "a", WEB, .unhealthy = true}, {.name = "b", WEB}},
         {0, 100, 0, 0}},
        {"unhealthy allowed",
         {.ports = "80:8080", .any_health = true},
         {{.name = "a", WEB, .unhealthy = true}},
         {100, 0, 0, 0}},
        {"port not defined", {.ports = "81:8080"}, {{.name = "a", WEB}}, {0, 0, 0, 100}},
        {"named port, one knows it",
         {.ports = "80:0"},
         {{.name = "a", .services = "shop/web.local"}, {.name = "b", WEB}},
         {0, 100, 0, 0}},
        {"named port, an application tunnel is no answer",
         {.ports = "80:0"},
         {{.name = "a",
           .services = "shop/web.local",
           .tunnel = APP_TUNNEL_PROXY,
           .tunnel_port = 9000}},
         {0, 0, 0, 100}},
        {"no address",
         {.ports = "80:8080"},
         {{.name = "a", .ips = "", WEB}, {.name = "b", WEB}},
         {0, 100, 0, 0}},
        {"hostname instead of address",
         {.ports = "80:8080"},
         {{.name = "a", .ips = "", .hostname = "x", WEB}},
         {100, 0, 0, 0}},
        {"far without gateway",
         {.ports = "80:8080"},
         {{.name = "a", .ips = "", .network = "far", WEB}},
         {0, 0, 0, 100}},
        {"far with gateway",
         {.ports = "80:8080"},
         {{.name = "a", .ips = "", .network = "far", .gateway = "far|10.9.9.9:15008", WEB}},
         {100, 0, 0, 0}},
        {"strict",
         {.ports = "80:8080", .mode = BALANCE_STRICT, .scopes = "N"},
         {{.name = "a", .node = "n1", WEB}, {.name = "b", .node = "n2", WEB}},
         {100, 0, 0, 0}},
        {"strict, none fits",
         {.ports = "80:8080", .mode = BALANCE_STRICT, .scopes = "NZ"},
         {{.name = "a", .node = "n1", .zone = "other", WEB}},
         {0, 0, 0, 100}},
        {"strict, network is one of all",
         {.ports = "80:8080", .mode = BALANCE_STRICT, .scopes = "WZ"},
         {{.name = "a", .zone = "other", WEB}, {.name = "b", .zone = "z1", WEB}},
         {0, 100, 0, 0}},
        {"failover, best zone",
         {.ports = "80:8080", .mode = BALANCE_FAILOVER, .scopes = "RZ"},
         {{.name = "a", .region = "r1", .zone = "z2", WEB},
          {.name = "b", .region = "r1", .zone = "z1", WEB},
          {.name = "c", .region = "r2", .zone = "z1", WEB}},
         {0, 100, 0, 0}},
        {"failover, best is unhealthy",
         {.ports = "80:8080", .mode = BALANCE_FAILOVER, .scopes = "RZ"},
         {{.name = "a", .region = "r1", .zone = "z2", WEB},
          {.name = "b", .region = "r1", .zone = "z1", .unhealthy = true, WEB},
          {.name = "c", .region = "r2", .zone = "z1", WEB}},
         {100, 0, 0, 0}},
        {"failover, nothing matches",
         {.ports = "80:8080", .mode = BALANCE_FAILOVER, .scopes = "R"},
         {{.name = "a", .region = "r2", WEB}, {.name = "b", .region = "r3", WEB}},
         {50, 50, 0, 0}},
        {"failover to weights of zero",
         {.ports = "80:8080", .mode = BALANCE_FAILOVER, .scopes = "R"},
         {{.name = "a", .region = "r1", .weight = -1, WEB}, {.name = "b", .region = "r3", WEB}},
         {0, 0, 0, 100}},
        {"scopes without a mode",
         {.ports = "80:8080", .scopes = "N"},
         {{.name = "a", .node = "n1", WEB}, {.name = "b", .node = "n2", WEB}},
         {50, 50, 0, 0}},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        AUTO(mesh) struct mesh m;
        mesh_init(&m);
        mesh_pod(&m, &(struct pod){.name = "source", .node = "n1", .region = "r1", .zone = "z1"});
        mesh_svc(&m, &rows[i].svc);
        for (int k = 0; k < 3 && rows[i].pods[k].name; k++) {
            struct pod p = rows[i].pods[k];
            p.ips = p.ips ? p.ips : "10.0.0.1";
            mesh_pod(&m, &p);
        }
        mesh_commit(&m);
        struct balance_query q = {.source = world_workload(m.world, "c//Pod/shop/source"),
                                  .service = world_service(m.world, "shop/web.local"),
                                  .port = 80};
        struct shares s = draw(&m, &q);
        printf("# %s: %u %u %u, nobody %u\n", rows[i].what, s.of[0], s.of[1], s.of[2], s.nobody);
        for (int k = 0; k < 3; k++) {
            CHECK(s.of[k] + 3 >= rows[i].want[k] && s.of[k] <= rows[i].want[k] + 3);
            CHECK(rows[i].want[k] > 0 || s.of[k] == 0);
        }
        CHECK_INT(s.nobody, rows[i].want[3]);
    }
}

TEST(an_equal_seed_makes_an_equal_choice)
{
    AUTO(mesh) struct mesh m;
    struct balance_pick first, again;

    mesh_init(&m);
    mesh_svc(&m, &(struct svc){.ports = "80:8080"});
    mesh_pod(&m, &(struct pod){.name = "a", .ips = "10.0.0.1", WEB});
    mesh_pod(&m, &(struct pod){.name = "b", .ips = "10.0.0.2", WEB});
    mesh_commit(&m);
    struct balance_query q = {.source = world_workload(m.world, "c//Pod/shop/a"),
                              .service = world_service(m.world, "shop/web.local"),
                              .port = 80};
    for (q.seed = 0; q.seed < 50; q.seed++) {
        CHECK(balance_choose(m.world, &q, &first) && balance_choose(m.world, &q, &again));
        CHECK(first.backend.workload == again.backend.workload);
    }
}

/* Contract 3.3: [network, region, zone]. */
TEST(a_leading_network_outweighs_the_rest)
{
    static const struct {
        const char *scopes, *network, *region, *zone;
        unsigned want;
    } rows[] = {
        {"WRZ", "n", "r", "z", 5}, {"WRZ", "n", "r", "-", 4}, {"WRZ", "n", "-", "z", 3},
        {"WRZ", "-", "r", "z", 2}, {"WRZ", "-", "r", "-", 1}, {"WRZ", "-", "-", "z", 0},
        {"RZ", "n", "r", "z", 2},  {"RZ", "n", "r", "-", 1},  {"RZ", "n", "-", "z", 0},
        {"RW", "n", "r", "z", 2},  {"RW", "-", "r", "z", 1},  {"RW", "n", "-", "z", 0},
        {"", "n", "r", "z", 0},    {"W", "n", "r", "z", 1},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        AUTO(mesh) struct mesh m;
        mesh_init(&m);
        AUTO(service)
        const struct service *s =
            mesh_make_svc(&m, &(struct svc){.mode = BALANCE_FAILOVER, .scopes = rows[i].scopes});
        AUTO(workload)
        const struct workload *a =
            mesh_make_pod(&m, &(struct pod){.network = "n", .region = "r", .zone = "z"});
        AUTO(workload)
        const struct workload *b = mesh_make_pod(&m, &(struct pod){.network = rows[i].network,
                                                                   .region = rows[i].region,
                                                                   .zone = rows[i].zone});
        printf("# row %zu\n", i);
        CHECK_INT(balance_rank(s, a, b), rows[i].want);
    }
}

TEST(every_scope_compares_its_own_field)
{
    static const struct {
        const char *scope;
        struct pod same;
    } rows[] = {
        {"R", {.region = "x"}}, {"Z", {.zone = "x"}},    {"S", {.subzone = "x"}},
        {"N", {.node = "x"}},   {"C", {.cluster = "x"}}, {"W", {.network = "x"}},
    };
    AUTO(mesh) struct mesh m;

    mesh_init(&m);
    AUTO(workload)
    const struct workload *source = mesh_make_pod(&m, &(struct pod){.region = "x",
                                                                    .zone = "x",
                                                                    .subzone = "x",
                                                                    .node = "x",
                                                                    .cluster = "x",
                                                                    .network = "x"});
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        for (size_t k = 0; k < ARRAY_LEN(rows); k++) {
            AUTO(service)
            const struct service *s = mesh_make_svc(&m, &(struct svc){.scopes = rows[i].scope});
            AUTO(workload) const struct workload *w = mesh_make_pod(&m, &rows[k].same);
            CHECK_INT(balance_rank(s, source, w), i == k);
        }
    }
}

TEST(the_target_port)
{
    static const struct {
        const char *what, *ports, *services;
        enum app_tunnel tunnel;
        uint16_t tunnel_port, want;
    } rows[] = {
        {"own map first", "80:8080", "shop/web.local=80:81", 0, 0, 81},
        {"service's target", "80:8080", "shop/web.local", 0, 0, 8080},
        {"service's target, own map of another port", "80:8080", "shop/web.local=82:83", 0, 0,
         8080},
        {"named port unknown", "80:0", "shop/web.local", 0, 0, 0},
        {"no such port", "81:8080", "shop/web.local", 0, 0, 0},
        {"tunnel with port", "81:8080", "shop/web.local", APP_TUNNEL_PROXY, 9000, 80},
        {"tunnel with port, named port", "80:0", "shop/web.local", APP_TUNNEL_PROXY, 9000, 80},
        {"tunnel without port", "81:8080", "shop/web.local", APP_TUNNEL_PROXY, 0, 0},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        AUTO(mesh) struct mesh m;
        mesh_init(&m);
        AUTO(service)
        const struct service *s = mesh_make_svc(&m, &(struct svc){.ports = rows[i].ports});
        AUTO(workload)
        const struct workload *w =
            mesh_make_pod(&m, &(struct pod){.services = rows[i].services,
                                            .tunnel = rows[i].tunnel,
                                            .tunnel_port = rows[i].tunnel_port});
        struct backend b = {w, &w->services[0]};
        printf("# %s\n", rows[i].what);
        CHECK_INT(balance_target_port(s, &b, 80), rows[i].want);
    }
}

TEST(a_waypoint_endpoint_needs_no_port_if_it_has_an_application_tunnel)
{
    AUTO(mesh) struct mesh m;
    struct balance_pick p;

    mesh_init(&m);
    mesh_svc(&m, &(struct svc){.ports = "80:8080"});
    mesh_pod(&m, &(struct pod){.name = "a",
                               .ips = "10.0.0.1",
                               .services = "shop/web.local",
                               .tunnel = APP_TUNNEL_PROXY,
                               .tunnel_port = 15088});
    mesh_commit(&m);
    struct balance_query q = {.source = world_workload(m.world, "c//Pod/shop/a"),
                              .service = world_service(m.world, "shop/web.local"),
                              .port = 15008};
    CHECK(!balance_choose(m.world, &q, &p));
    q.purpose = BALANCE_WAYPOINT;
    CHECK(balance_choose(m.world, &q, &p));
    CHECK_INT(p.target_port, 15008);
}
