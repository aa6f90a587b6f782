/* SPDX-License-Identifier: Apache-2.0 */
/* A large mesh: how long things take is printed, how much memory they take is bounded, and that a small
 * change stays small is asked for. */
#include <malloc.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "case_rig.h"
#include "t.h"

enum { PODS = 100000, SPACES = 100, SERVICES = 2000, POLICIES = 500, NODES = 1000 };
enum { MEMORY_MB = 400 };

/* Sanitizers have a heap of their own; then there is nothing to compare with. */
static size_t used_mb(void)
{
    struct mallinfo2 m = mallinfo2();

    return (m.uordblks + m.hblkhd) >> 20;
}

static struct json *pod(unsigned i)
{
    struct json *o = json_new_object();
    struct json *container = json_new_object();
    struct json *port = json_new_object();
    struct json *ready = json_new_object();
    char text[64];

    (void)snprintf(text, sizeof(text), "deployment-%u-5d9c7b8f6-%05u", i % SERVICES, i);
    json_set_str(json_make_object(o, "metadata"), "name", text);
    (void)snprintf(text, sizeof(text), "space-%u", i % SPACES);
    json_set_str(json_at(o, "metadata"), "namespace", text);
    (void)snprintf(text, sizeof(text), "%08x-0000-4000-8000-%012x", i, i);
    json_set_str(json_at(o, "metadata"), "uid", text);
    (void)snprintf(text, sizeof(text), "app-%u", i % SERVICES);
    json_set_str(json_make_object(o, "metadata.labels"), "app", text);
    json_set_str(json_at(o, "metadata.labels"), "pod-template-hash", "5d9c7b8f6");
    json_set_str(json_make_object(o, "metadata.annotations"), "ambient.istio.io/redirection",
                 "enabled");
    (void)snprintf(text, sizeof(text), "node-%u", i % NODES);
    json_set_str(json_make_object(o, "spec"), "nodeName", text);
    json_set_str(json_at(o, "spec"), "serviceAccountName", "default");
    json_set_str(port, "name", "http");
    json_set_int(port, "containerPort", 8080);
    json_append(json_make_array(container, "ports"), port);
    json_append(json_make_array(o, "spec.containers"), container);
    json_set_str(ready, "type", "Ready");
    json_set_str(ready, "status", "True");
    json_append(json_make_array(o, "status.conditions"), ready);
    json_set_str(json_at(o, "status"), "phase", "Running");
    (void)snprintf(text, sizeof(text), "10.%u.%u.%u", i >> 16, i >> 8 & 255, i & 255);
    json_set_str(json_at(o, "status"), "podIP", text);
    return o;
}

static struct json *service(unsigned i)
{
    struct json *o = json_new_object();
    struct json *port = json_new_object();
    char text[64];

    (void)snprintf(text, sizeof(text), "app-%u", i);
    json_set_str(json_make_object(o, "metadata"), "name", text);
    json_set_str(json_make_object(o, "spec.selector"), "app", text);
    (void)snprintf(text, sizeof(text), "space-%u", i % SPACES);
    json_set_str(json_at(o, "metadata"), "namespace", text);
    (void)snprintf(text, sizeof(text), "10.200.%u.%u", i >> 8, i & 255);
    json_set_str(json_at(o, "spec"), "clusterIP", text);
    json_set_str(port, "name", "http");
    json_set_str(port, "targetPort", "http");
    json_set_int(port, "port", 80);
    json_append(json_make_array(o, "spec.ports"), port);
    return o;
}

static struct json *policy(unsigned i, const char *action)
{
    struct json *o = json_new_object();
    char text[64];

    (void)snprintf(text, sizeof(text), "policy-%u", i);
    json_set_str(json_make_object(o, "metadata"), "name", text);
    (void)snprintf(text, sizeof(text), "space-%u", i % SPACES);
    json_set_str(json_at(o, "metadata"), "namespace", text);
    (void)snprintf(text, sizeof(text), "app-%u", i);
    json_set_str(json_make_object(o, "spec.selector.matchLabels"), "app", text);
    json_set_str(json_at(o, "spec"), "action", action);
    return o;
}

static void put(struct case_rig *r, enum index_kind kind, struct json *take_o)
{
    index_put(r->index, kind, take_o);
    json_unref(take_o);
}

/* How many addresses a change sends again. */
static unsigned settle(struct case_rig *r, const char *what)
{
    uint64_t before = catalog_seq(r->addresses);
    uint64_t began = clock_mono_ns();
    uint64_t longest = 0;
    unsigned sent = 0;
    bool more = true;

    while (more) {
        uint64_t at = clock_mono_ns();
        more = index_settle(r->index, INDEX_SETTLE_UNITS);
        uint64_t took = clock_mono_ns() - at;
        longest = took > longest ? took : longest;
    }
    for (const struct catalog_entry *e = catalog_after(r->addresses, before); e;
         e = catalog_next(r->addresses, e)) {
        sent++;
    }
    printf("# %s: %u sent, %llu us, the longest portion %llu us, %zu MB in use\n", what, sent,
           (unsigned long long)(clock_mono_ns() - began) / 1000, (unsigned long long)longest / 1000,
           used_mb());
    return sent;
}

TEST(a_hundred_thousand_pods_fit_and_small_changes_stay_small)
{
    struct case_rig r;
    size_t before = used_mb();
    uint64_t began = clock_mono_ns();

    case_rig_open(&r, NULL, "cluster.local");
    for (unsigned i = 0; i < PODS; i++) {
        put(&r, INDEX_POD, pod(i));
    }
    for (unsigned i = 0; i < SERVICES; i++) {
        put(&r, INDEX_SERVICE, service(i));
    }
    for (unsigned i = 0; i < POLICIES; i++) {
        put(&r, INDEX_AUTHORIZATION, policy(i, "ALLOW"));
    }
    printf("# read in %llu ms\n", (unsigned long long)(clock_mono_ns() - began) / 1000000);
    unsigned first = settle(&r, "everything");
    size_t used = used_mb() - before;
    put(&r, INDEX_POD, pod(7));
    unsigned nothing = settle(&r, "a pod that has not changed");
    put(&r, INDEX_AUTHORIZATION, policy(POLICIES, "DENY"));
    unsigned bound = settle(&r, "a policy for one application");
    index_remove(r.index, INDEX_SERVICE, "space-3", "app-3");
    unsigned members = settle(&r, "a service that goes");
    case_rig_close(&r);
    CHECK_INT(first, PODS + SERVICES);
    CHECK_INT(nothing, 0);
    CHECK_INT(bound, PODS / SERVICES);
    CHECK_INT(members, PODS / SERVICES); /* the service itself is gone before settling */
    CHECK(used < MEMORY_MB);
}
