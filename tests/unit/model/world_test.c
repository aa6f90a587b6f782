/* SPDX-License-Identifier: Apache-2.0 */
#include "model/world.h"

#include <malloc.h>
#include <string.h>

#include "base/mem.h"
#include "base/rand.h"
#include "mesh.h"
#include "t.h"

static const char *uid_of(const struct workload *w)
{
    return w ? w->uid : "none";
}

static const char *key_of(const struct service *s)
{
    return s ? s->key : "none";
}

static const struct policy *policy(const char *ns, const char *name, enum policy_scope scope,
                                   bool broken)
{
    struct policy p = {.ns = ns, .name = name, .scope = scope, .broken = broken};
    const struct policy *made = NULL;

    return policy_new(&made, &p, NULL) < 0 ? NULL : made;
}

TEST(a_workload_is_found_by_all_its_names)
{
    AUTO(mesh) struct mesh m;
    struct ip a = mesh_ip("10.0.0.1"), b = mesh_ip("fd00::1"), c = mesh_ip("10.0.0.2");

    mesh_init(&m);
    CHECK(mesh_pod(&m, &(struct pod){.name = "a",
                                     .ips = "10.0.0.1,fd00::1",
                                     .node = "n1",
                                     .network = "net",
                                     .hostname = "db.example"}));
    mesh_commit(&m);
    const struct workload *w = world_workload(m.world, "c//Pod/shop/a");
    CHECK(w);
    CHECK(world_workload_at(m.world, "net", &a) == w && world_workload_at(m.world, "net", &b) == w);
    CHECK(!world_workload_at(m.world, "", &a) && !world_workload_at(m.world, "net", &c));
    CHECK(world_workload_named(m.world, "shop", "db.example") == w);
    CHECK(!world_workload_named(m.world, "prod", "db.example"));
    CHECK(world_self(m.world, "n1", "a", "shop", "a-sa") == w);
    CHECK(world_self(m.world, NULL, "a", "shop", "a-sa") == w);
    CHECK(world_self(m.world, "", "a", "shop", "a-sa") == w);
    CHECK(!world_self(m.world, "n2", "a", "shop", "a-sa"));
    CHECK(!world_self(m.world, "n1", "a", "shop", "other"));
    CHECK_INT(world_workload_count(m.world), 1);
}

TEST(who_speaks_for_a_shared_address)
{
    static const struct {
        struct pod pods[3];
        const char *want;
    } rows[] = {
        {{{.uid = "x//Pod/1"}, {.uid = "x/We/2", .hbone = true}}, "x//Pod/1"},
        {{{.uid = "x/We/1"}, {.uid = "x/We/2", .hbone = true}, {.uid = "x/We/3"}}, "x/We/2"},
        {{{.uid = "x//Pod/1", .hbone = true}, {.uid = "x//Pod/2"}}, "x//Pod/1"},
        {{{.uid = "x//Pod/1"}, {.uid = "x//Pod/2"}, {.uid = "x//Pod/3"}}, "x//Pod/3"},
        {{{.uid = "x//Pod/1", .host_network = true}, {.uid = "x/We/2"}}, "x/We/2"},
        {{{.uid = "x//Pod/1", .host_network = true}}, "none"},
    };
    struct ip ip = mesh_ip("10.0.0.1");

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        AUTO(mesh) struct mesh m;
        mesh_init(&m);
        for (int k = 0; k < 3 && rows[i].pods[k].uid; k++) {
            struct pod p = rows[i].pods[k];
            p.ips = "10.0.0.1";
            mesh_pod(&m, &p);
        }
        mesh_commit(&m);
        CHECK_STR(uid_of(world_workload_at(m.world, "", &ip)), rows[i].want);
    }
}

TEST(a_workload_put_again_counts_as_the_last_seen)
{
    AUTO(mesh) struct mesh m;
    struct ip ip = mesh_ip("10.0.0.1");

    mesh_init(&m);
    mesh_pod(&m, &(struct pod){.uid = "x//Pod/1", .ips = "10.0.0.1"});
    mesh_pod(&m, &(struct pod){.uid = "x//Pod/2", .ips = "10.0.0.1"});
    mesh_commit(&m);
    CHECK_STR(uid_of(world_workload_at(m.world, "", &ip)), "x//Pod/2");
    mesh_pod(&m, &(struct pod){.uid = "x//Pod/1", .ips = "10.0.0.1", .node = "moved"});
    mesh_commit(&m);
    CHECK_STR(uid_of(world_workload_at(m.world, "", &ip)), "x//Pod/1");
}

/* Contract 3.2.3 and 8.2. */
TEST(which_service_answers_for_an_address_or_a_name)
{
    static const struct {
        struct svc svcs[4];
        const char *client_ns, *preferred_ns;
        const char *by_vip, *by_host;
    } rows[] = {
        {{{.ns = "a"}, {.ns = "shop"}, {.ns = "b", .canonical = true}},
         "shop",
         NULL,
         "shop/web.local",
         "shop/web.local"},
        {{{.ns = "a"}, {.ns = "b", .canonical = true}, {.ns = "c", .canonical = true}},
         "shop",
         NULL,
         "c/web.local",
         "b/web.local"},
        {{{.ns = "a"}, {.ns = "b"}, {.ns = "c"}}, "shop", "c", "a/web.local", "c/web.local"},
        {{{.ns = "a"}, {.ns = "b"}}, "shop", "z", "a/web.local", "a/web.local"},
        {{{.ns = "a", .hidden = true, .canonical = true}, {.ns = "b"}},
         "shop",
         NULL,
         "b/web.local",
         "b/web.local"},
        {{{.ns = "a", .hidden = true}}, "shop", NULL, "none", "none"},
        {{{.ns = "a", .hidden = true}}, "a", NULL, "a/web.local", "a/web.local"},
        {{{.ns = "a"}, {.ns = "b", .canonical = true}}, "shop", "a", "b/web.local", "b/web.local"},
    };
    struct ip ip = mesh_ip("10.96.0.1");

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        AUTO(mesh) struct mesh m;
        struct host_query q = {.client_ns = rows[i].client_ns,
                               .preferred_ns = rows[i].preferred_ns};
        mesh_init(&m);
        for (int k = 0; k < 4 && rows[i].svcs[k].ns; k++) {
            struct svc s = rows[i].svcs[k];
            s.vips = "|10.96.0.1";
            mesh_svc(&m, &s);
        }
        mesh_commit(&m);
        printf("# row %zu\n", i);
        CHECK_STR(key_of(world_service_at(m.world, "", &ip, rows[i].client_ns)), rows[i].by_vip);
        CHECK_STR(key_of(world_service_for_host(m.world, "web.local", &q)), rows[i].by_host);
        CHECK(!world_service_at(m.world, "other", &ip, rows[i].client_ns));
    }
}

TEST(a_cidr_vip_is_the_last_resort_and_the_longest_wins)
{
    static const struct {
        struct svc svcs[4];
        const char *want;
    } rows[] = {
        {{{.ns = "a", .vips = "|10.97.0.0/16"}, {.ns = "b", .vips = "|10.97.1.0/24"}},
         "b/web.local"},
        {{{.ns = "a", .vips = "|10.97.1.0/24"}, {.ns = "b", .vips = "|10.97.1.5"}}, "b/web.local"},
        {{{.ns = "shop", .vips = "|10.0.0.0/8"}, {.ns = "b", .vips = "|10.97.1.0/24"}},
         "shop/web.local"},
        {{{.ns = "a", .vips = "|10.97.1.0/24"}, {.ns = "b", .vips = "|10.97.1.0/24"}},
         "a/web.local"},
        {{{.ns = "a", .vips = "|10.97.1.0/24"},
          {.ns = "b", .vips = "|10.97.1.0/24", .canonical = true}},
         "b/web.local"},
        {{{.ns = "a", .vips = "|10.97.0.0/16", .canonical = true},
          {.ns = "b", .vips = "|10.97.1.0/24"}},
         "b/web.local"},
        {{{.ns = "a", .vips = "|10.97.1.0/24", .hidden = true}}, "none"},
        {{{.ns = "a", .vips = "net|10.97.1.0/24"}}, "none"},
        {{{.ns = "a", .vips = "|10.98.0.0/16"}}, "none"},
        {{{.ns = "a", .vips = "|0.0.0.0/0"}}, "a/web.local"},
        {{{.ns = "a", .vips = "|::/0"}}, "none"},
    };
    struct ip ip = mesh_ip("10.97.1.5");

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        AUTO(mesh) struct mesh m;
        mesh_init(&m);
        for (int k = 0; k < 4 && rows[i].svcs[k].ns; k++) {
            mesh_svc(&m, &rows[i].svcs[k]);
        }
        mesh_commit(&m);
        printf("# row %zu\n", i);
        CHECK_STR(key_of(world_service_at(m.world, "", &ip, "shop")), rows[i].want);
    }
}

TEST(dns_sees_services_with_an_address_or_a_headless_name)
{
    AUTO(mesh) struct mesh m;
    struct host_query q = {.client_ns = "shop", .headless_suffix = ".svc.cluster.local"};

    mesh_init(&m);
    mesh_svc(&m, &(struct svc){.host = "ext.example.com", .vips = "|240.240.0.1"});
    mesh_svc(&m, &(struct svc){.host = "novip.example.com"});
    mesh_svc(&m, &(struct svc){.host = "cidr.example.com", .vips = "|10.97.0.0/24"});
    mesh_svc(&m, &(struct svc){.host = "bare.shop.svc.cluster.local"});
    mesh_commit(&m);
    CHECK(world_service_for_host(m.world, "ext.example.com", &q));
    CHECK(!world_service_for_host(m.world, "novip.example.com", &q));
    CHECK(!world_service_for_host(m.world, "cidr.example.com", &q));
    CHECK(world_service_for_host(m.world, "bare.shop.svc.cluster.local", &q));
}

static unsigned count_backends(const struct world *w, const char *key)
{
    struct world_cursor c = {0};
    struct backend b;
    unsigned n = 0;

    while (world_each_backend(w, key, &c, &b)) {
        n += strcmp(b.member->key, key) == 0;
    }
    return n;
}

TEST(endpoints_follow_their_workloads_whether_or_not_the_service_is_known)
{
    AUTO(mesh) struct mesh m;

    mesh_init(&m);
    mesh_pod(&m, &(struct pod){.name = "a", .services = "shop/web.local=80:8080"});
    mesh_pod(&m, &(struct pod){.name = "b", .services = "shop/web.local=80:81,shop/x.local"});
    mesh_commit(&m);
    CHECK_INT(count_backends(m.world, "shop/web.local"), 2);
    mesh_svc(&m, &(struct svc){.ports = "80:0"});
    mesh_pod(&m, &(struct pod){.name = "a", .services = ""});
    mesh_commit(&m);
    CHECK_INT(count_backends(m.world, "shop/web.local"), 1);
    CHECK_INT(count_backends(m.world, "shop/x.local"), 1);
    CHECK(world_remove_address(m.delta, "c//Pod/shop/b"));
    CHECK(!world_remove_address(m.delta, "c//Pod/shop/b"));
    CHECK(!world_remove_address(m.delta, "c//Pod/shop/z"));
    mesh_commit(&m);
    CHECK_INT(count_backends(m.world, "shop/web.local"), 0);
    CHECK(world_service(m.world, "shop/web.local"));
}

TEST(an_old_world_stays_what_it_was)
{
    AUTO(mesh) struct mesh m;
    struct ip ip = mesh_ip("10.0.0.1");

    mesh_init(&m);
    mesh_pod(&m, &(struct pod){.name = "a", .ips = "10.0.0.1", .services = "shop/web.local"});
    mesh_svc(&m, &(struct svc){.vips = "|10.96.0.1"});
    mesh_commit(&m);
    AUTO(world) const struct world *old = world_ref(m.world);
    const struct workload *a = world_workload_at(old, "", &ip);

    world_remove_address(m.delta, "c//Pod/shop/a");
    world_remove_address(m.delta, "shop/web.local");
    mesh_commit(&m);
    CHECK(!world_workload_at(m.world, "", &ip) && !world_service(m.world, "shop/web.local"));
    CHECK(world_workload_at(old, "", &ip) == a && count_backends(old, "shop/web.local") == 1);
    CHECK_STR(a->name, "a");
    CHECK_INT(world_generation(m.world), world_generation(old) + 1);
    CHECK_INT(world_workload_count(old), 1);
    CHECK_INT(world_workload_count(m.world), 0);
}

TEST(what_is_equal_changes_nothing)
{
    AUTO(mesh) struct mesh m;
    struct pod a = {
        .name = "a", .ips = "10.0.0.1", .services = "shop/web.local=80:1", .policies = "x/y"};
    struct svc s = {.vips = "|10.96.0.1", .ports = "80:1", .sans = "spiffe://td/ns/a/sa/b,other"};

    mesh_init(&m);
    CHECK(mesh_pod(&m, &a) && mesh_svc(&m, &s));
    CHECK(!mesh_pod(&m, &a) && !mesh_svc(&m, &s)); /* within one delta too */
    mesh_commit(&m);
    const struct workload *before = world_workload(m.world, "c//Pod/shop/a");
    CHECK(!mesh_pod(&m, &a) && !mesh_svc(&m, &s));
    mesh_commit(&m);
    CHECK(world_workload(m.world, "c//Pod/shop/a") == before);
    a.version = "2";
    CHECK(mesh_pod(&m, &a));
    s.sans = "spiffe://td/ns/a/sa/b,another";
    CHECK(mesh_svc(&m, &s));
}

TEST(the_last_word_about_a_key_wins)
{
    AUTO(mesh) struct mesh m;

    mesh_init(&m);
    mesh_pod(&m, &(struct pod){.name = "a", .node = "1"});
    mesh_pod(&m, &(struct pod){.name = "a", .node = "2"});
    mesh_pod(&m, &(struct pod){.name = "gone"});
    CHECK(world_remove_address(m.delta, "c//Pod/shop/gone"));
    mesh_commit(&m);
    CHECK_STR(world_workload(m.world, "c//Pod/shop/a")->node, "2");
    CHECK_INT(world_workload_count(m.world), 1);
    CHECK(world_remove_address(m.delta, "c//Pod/shop/a"));
    CHECK(mesh_pod(&m, &(struct pod){.name = "a", .node = "2"}));
    mesh_commit(&m);
    CHECK_INT(world_workload_count(m.world), 1);
}

static unsigned count_scoped(const struct world *w, const char *ns)
{
    struct world_cursor c = {0};
    unsigned n = 0;

    while (world_each_scoped(w, ns, &c)) {
        n++;
    }
    return n;
}

TEST(policies_are_found_by_name_and_by_reach)
{
    AUTO(mesh) struct mesh m;

    mesh_init(&m);
    mesh_policy(&m, policy("shop", "a", SCOPED_NAMESPACE, false));
    mesh_policy(&m, policy("shop", "b", SCOPED_NAMESPACE, false));
    mesh_policy(&m, policy("shop", "w", SCOPED_WORKLOAD, false));
    mesh_policy(&m, policy("", "g", SCOPED_GLOBAL, false));
    mesh_policy(&m, policy("", "n", SCOPED_NAMESPACE, false));
    mesh_commit(&m);
    CHECK(world_policy(m.world, "shop/w") && world_policy(m.world, "/g"));
    CHECK_INT(count_scoped(m.world, "shop"), 2);
    CHECK_INT(count_scoped(m.world, NULL), 1);
    CHECK_INT(count_scoped(m.world, ""), 1);
    CHECK_INT(count_scoped(m.world, "prod"), 0);
    CHECK_INT(world_policy_generation(m.world), 1);
    mesh_pod(&m, &(struct pod){.name = "a"});
    mesh_commit(&m);
    CHECK_INT(world_policy_generation(m.world), 1);
    CHECK(world_remove_policy(m.delta, "shop/a") && !world_remove_policy(m.delta, "shop/a"));
    mesh_policy(&m, policy("shop", "b", SCOPED_GLOBAL, false));
    mesh_commit(&m);
    CHECK_INT(world_policy_generation(m.world), 2);
    CHECK_INT(count_scoped(m.world, "shop"), 0);
    CHECK_INT(count_scoped(m.world, NULL), 2);
}

TEST(a_broken_policy_does_not_replace_a_good_one)
{
    AUTO(mesh) struct mesh m;

    mesh_init(&m);
    CHECK(mesh_policy(&m, policy("shop", "new", SCOPED_NAMESPACE, true)));
    CHECK(mesh_policy(&m, policy("shop", "p", SCOPED_NAMESPACE, false)));
    CHECK(!mesh_policy(&m, policy("shop", "p", SCOPED_NAMESPACE, true)));
    mesh_commit(&m);
    CHECK(world_policy(m.world, "shop/new")->broken && !world_policy(m.world, "shop/p")->broken);
    CHECK(!mesh_policy(&m, policy("shop", "p", SCOPED_NAMESPACE, true)));
    CHECK(mesh_policy(&m, policy("shop", "new", SCOPED_NAMESPACE, false)));
    mesh_commit(&m);
    CHECK(!world_policy(m.world, "shop/new")->broken);
    CHECK(world_remove_policy(m.delta, "shop/p"));
    CHECK(mesh_policy(&m, policy("shop", "p", SCOPED_NAMESPACE, true)));
    mesh_commit(&m);
    CHECK(world_policy(m.world, "shop/p")->broken);
}

/* A naive mesh to compare with: what was put, in the order of its last put. */
enum { NAMES = 40 };
struct naive {
    bool there;
    unsigned ip, service, seen;
};

static const struct naive *naive_at(const struct naive *n, unsigned ip)
{
    const struct naive *best = NULL;

    for (int i = 0; i < NAMES; i++) {
        if (n[i].there && n[i].ip == ip && (!best || n[i].seen > best->seen)) {
            best = &n[i];
        }
    }
    return best;
}

static bool agrees(const struct world *w, const struct naive *n)
{
    char text[64];

    for (unsigned k = 0; k < 8; k++) {
        struct ip ip;
        unsigned members = 0;
        (void)snprintf(text, sizeof(text), "10.0.0.%u", k);
        ip = mesh_ip(text);
        const struct naive *best = naive_at(n, k);
        const struct workload *got = world_workload_at(w, "", &ip);
        (void)snprintf(text, sizeof(text), "x//Pod/%td", best ? best - n : 0);
        if (strcmp(uid_of(got), best ? text : "none") != 0) {
            return false;
        }
        for (int i = 0; i < NAMES; i++) {
            members += n[i].there && n[i].service == k;
        }
        (void)snprintf(text, sizeof(text), "shop/s%u", k);
        if (count_backends(w, text) != members) {
            return false;
        }
    }
    return true;
}

TEST(random_deltas_agree_with_a_naive_mesh)
{
    AUTO(mesh) struct mesh m;
    struct naive n[NAMES] = {{false}};
    struct rand_seq r;
    unsigned seen = 0;

    mesh_init(&m);
    rand_seq_init(&r, 42);
    for (int round = 0; round < 300; round++) {
        for (uint64_t k = rand_seq_below(&r, 12); k > 0; k--) {
            unsigned i = (unsigned)rand_seq_below(&r, NAMES);
            char uid[32], ip[32], service[32];
            (void)snprintf(uid, sizeof(uid), "x//Pod/%u", i);
            if (rand_seq_below(&r, 3) == 0) {
                CHECK(world_remove_address(m.delta, uid) == n[i].there);
                n[i].there = false;
                continue;
            }
            struct naive want = {true, (unsigned)rand_seq_below(&r, 8),
                                 (unsigned)rand_seq_below(&r, 8), ++seen};
            (void)snprintf(ip, sizeof(ip), "10.0.0.%u", want.ip);
            (void)snprintf(service, sizeof(service), "shop/s%u", want.service);
            bool changed = !n[i].there || n[i].ip != want.ip || n[i].service != want.service;
            CHECK(mesh_pod(&m, &(struct pod){.uid = uid, .ips = ip, .services = service}) ==
                  changed);
            if (changed) {
                n[i] = want;
            }
        }
        mesh_commit(&m);
        CHECK(agrees(m.world, n));
    }
}

static void put_many(struct mesh *m, unsigned count, const char *node)
{
    for (unsigned i = 0; i < count; i++) {
        char name[64], ip[32], ns[16], service[64], where[32], sa[32];
        (void)snprintf(name, sizeof(name), "app-%u-7d9f8b6c5d-%05u", i / 10, i);
        (void)snprintf(ip, sizeof(ip), "10.%u.%u.%u", i >> 16 & 255, i >> 8 & 255, i & 255);
        (void)snprintf(ns, sizeof(ns), "ns-%u", i / 1000);
        (void)snprintf(service, sizeof(service), "ns-%u/app-%u.svc.cluster.local=80:8080", i / 1000,
                       i / 10);
        (void)snprintf(where, sizeof(where), "%s-%u", node, i % 100);
        (void)snprintf(sa, sizeof(sa), "sa-%u", i / 10);
        (void)mesh_pod(m, &(struct pod){.name = name,
                                        .ns = ns,
                                        .sa = sa,
                                        .ips = ip,
                                        .node = where,
                                        .services = service,
                                        .cluster = "Kubernetes",
                                        .network = "net1",
                                        .region = "eu-central-1",
                                        .zone = "eu-central-1a",
                                        .version = "3fa94c0d2b1e",
                                        .hbone = true});
        if (i % 4096 == 4095) { /* as a stream of responses would: the peak stays low */
            mesh_commit(m);
        }
    }
    mesh_commit(m);
}

/* 64 MiB for 100,000, with the process and its connections in it: 450 bytes each leave a third
 * free. Where the allocator does not count (sanitizers), the counts below are what is left of
 * the test. */
TEST(a_hundred_thousand_workloads_fit_and_a_resync_costs_nothing)
{
    enum { COUNT = 100000, BYTES_EACH = 450 };
    AUTO(mesh) struct mesh m;
    size_t before = mallinfo2().uordblks;

    mesh_init(&m);
    put_many(&m, COUNT, "node");
    size_t full = mallinfo2().uordblks;
    printf("# %zu bytes a workload\n", (full - before) / COUNT);
    CHECK_INT(world_workload_count(m.world), COUNT);
    CHECK(full - before < (size_t)COUNT * BYTES_EACH);
    AUTO(world) const struct world *old = world_ref(m.world);
    put_many(&m, COUNT, "node");
    CHECK(world_workload(m.world, "c//Pod/ns-3/app-300-7d9f8b6c5d-03000") ==
          world_workload(old, "c//Pod/ns-3/app-300-7d9f8b6c5d-03000"));
    CHECK(mallinfo2().uordblks - full < 1 << 20);
}
