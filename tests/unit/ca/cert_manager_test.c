/* SPDX-License-Identifier: Apache-2.0 */
#include "ca/cert_manager.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/num.h"
#include "fake_ca.h"
#include "t.h"

enum { ASKERS = 3, WAIT_MS = 30000 };

struct rig {
    struct loop *loop;
    struct jobs *jobs;
    struct fake_ca ca;
    struct cert_manager *certs;
    struct task asker;
};

static void nothing(struct task *t, unsigned why)
{
    (void)t;
    (void)why;
}

/* One thread in the pool, which asks for memory on its own account: faults hit the loop's thread. */
static void rig_start(struct rig *g)
{
    *g = (struct rig){.loop = loop_new(NULL), .jobs = jobs_new(1, 64, 64, NULL)};
    if (!g->loop || !g->jobs) {
        abort();
    }
    loop_stop_clock(g->loop);
    fake_ca_start(&g->ca, g->loop, g->jobs);
    struct cert_manager_config config = {
        .dialer = &g->ca.dialer, .jobs = g->jobs, .ttl_s = 3600, .impersonate = true};
    g->certs = cert_manager_new(g->loop, &config);
    task_init(&g->asker, g->loop, "asker", nothing);
}

/* False: a connection was left. */
static bool rig_stop(struct rig *g)
{
    cert_manager_free(g->certs);
    task_fini(&g->asker);
    fake_ca_stop(&g->ca);
    loop_free(g->loop);
    return mempipe_live() == 0;
}

static struct cert_wait *ask(struct rig *g, const char *account)
{
    AUTO(identity) const struct identity *id = identity_new("cluster.local", "shop", account);

    return cert_wait_new(g->certs, id, CERT_REALTIME, &g->asker);
}

/* 0: a credential of that account came. Else why there is none; -EAGAIN: no answer at all. */
static int await(struct rig *g, struct cert_wait *take_w, const char *account, struct diag *why)
{
    AUTO(cert_wait) struct cert_wait *w = take_w;
    uint64_t deadline = clock_mono_ms() + WAIT_MS;
    struct credential *c = NULL;
    char want[100];
    int r;

    while ((r = cert_wait_result(w, &c, why)) == -EAGAIN && clock_mono_ms() < deadline) {
        (void)loop_turn(g->loop, 20);
    }
    (void)snprintf(want, sizeof(want), "spiffe://cluster.local/ns/shop/sa/%s", account);
    if (r == 0 && strcmp(credential_identity(c), want) != 0) {
        r = -ERR_IDENTITY;
    }
    credential_unref(c);
    return r;
}

static int fetch(struct rig *g, const char *account, struct diag *why)
{
    return await(g, ask(g, account), account, why);
}

static void pass(struct rig *g, uint64_t ms)
{
    loop_advance(g->loop, ms);
    for (int i = 0; i < 20; i++) {
        (void)loop_turn(g->loop, 0);
    }
}

TEST(certificates_of_several_identities_come_over_one_connection)
{
    static const char *const accounts[ASKERS] = {"a", "b", "c"};
    struct cert_wait *waits[ASKERS];
    struct diag why = {0};
    struct rig g;

    rig_start(&g);
    for (int i = 0; i < ASKERS; i++) {
        waits[i] = ask(&g, accounts[i]);
    }
    for (int i = 0; i < ASKERS; i++) {
        CHECK_INT(await(&g, waits[i], accounts[i], &why), 0);
    }
    CHECK_INT(fetch(&g, "a", &why), 0); /* it is there already */
    CHECK_INT(g.ca.calls, ASKERS);
    CHECK_INT(g.ca.dials, 1);
    CHECK(rig_stop(&g));
}

TEST(what_the_ca_says_reaches_the_asker_and_others_go_on)
{
    struct diag why = {0};
    struct rig g;

    rig_start(&g);
    CHECK_INT(fetch(&g, "forbidden", &why), -ERR_GRPC_STATUS);
    CHECK(strstr(why.text, "CA refused") != NULL);
    CHECK_INT(fetch(&g, "a", &why), 0);
    CHECK_INT(g.ca.dials, 2); /* it says UNAUTHENTICATED, too: as istiod for identities of others */
    CHECK(rig_stop(&g));
}

TEST(after_a_token_was_refused_the_next_fetch_dials_with_the_new_one)
{
    struct diag why = {0};
    struct rig g;

    rig_start(&g);
    CHECK_INT(fetch(&g, "a", &why), 0);
    g.ca.takes = "second";
    CHECK_INT(fetch(&g, "b", &why), -ERR_GRPC_STATUS);
    CHECK(strstr(why.text, "token has expired") != NULL);
    g.ca.token = "second";
    CHECK_INT(fetch(&g, "c", &why), 0);
    CHECK_INT(g.ca.refused, 1);
    CHECK_INT(g.ca.dials, 2);
    CHECK(rig_stop(&g));
}

/* Fetches once a second keep the connection from idling; a token that changed is used all the same. */
TEST(a_connection_in_constant_use_does_not_keep_its_token)
{
    struct diag why = {0};
    struct rig g;
    char account[16];

    rig_start(&g);
    for (int i = 0; i < 9; i++) {
        (void)snprintf(account, sizeof(account), "a%d", i);
        CHECK_INT(fetch(&g, account, &why), 0);
        pass(&g, 1000);
    }
    CHECK_INT(g.ca.dials, 1);
    g.ca.token = g.ca.takes = "second";
    pass(&g, 1000);
    CHECK_INT(fetch(&g, "late", &why), 0);
    CHECK_INT(g.ca.dials, 2);
    CHECK_INT(g.ca.refused, 0);
    CHECK(rig_stop(&g));
}

TEST(an_idle_connection_is_closed)
{
    struct diag why = {0};
    struct rig g;

    rig_start(&g);
    CHECK_INT(fetch(&g, "a", &why), 0);
    pass(&g, 1000);
    CHECK_INT(fetch(&g, "b", &why), 0);
    CHECK_INT(g.ca.dials, 1);
    pass(&g, 2000);
    CHECK_INT(fetch(&g, "c", &why), 0);
    CHECK_INT(g.ca.dials, 2);
    CHECK(rig_stop(&g));
}

TEST(while_the_ca_is_away_askers_are_told_and_it_is_tried_again)
{
    struct diag why = {0};
    struct rig g;

    rig_start(&g);
    g.ca.is_away = true;
    CHECK_INT(fetch(&g, "a", &why), -ECONNREFUSED);
    CHECK_STR(why.text, "CA is away");
    g.ca.is_away = false;
    pass(&g, 2 * CERT_RETRY_FIRST_MS);
    while (g.ca.calls == 0) {
        (void)loop_turn(g.loop, 20);
    }
    uint64_t deadline = clock_mono_ms() + WAIT_MS;
    while (fetch(&g, "a", &why) < 0 && clock_mono_ms() < deadline) {
        pass(&g, CERT_RETRY_FIRST_MS);
    }
    CHECK_INT(fetch(&g, "a", &why), 0);
    CHECK(rig_stop(&g));
}

TEST(an_identity_that_nobody_uses_is_given_up)
{
    AUTO(identity) const struct identity *id = identity_new("cluster.local", "shop", "a");
    struct cert_cursor at = {0};
    struct cert_view v;
    struct rig g;

    rig_start(&g);
    cert_manager_use(g.certs, id);
    (void)loop_turn(g.loop, 0); /* one: in several the fetch may end */
    CHECK(cert_manager_each(g.certs, &at, &v));
    CHECK_STR(v.state, "Initializing");
    cert_manager_unuse(g.certs, id); /* while the fetch is under way */
    for (int i = 0; i < 3; i++) {
        (void)loop_turn(g.loop, 0);
    }
    at = (struct cert_cursor){0};
    CHECK(!cert_manager_each(g.certs, &at, &v));
    CHECK(rig_stop(&g));
}

/* Two fetches, one after another; each ends one way or the other, and what failed comes right on the
 * next try. */
static bool two_fetches(struct rig *g)
{
    struct diag why = {0};
    int a = fetch(g, "a", &why);
    int b = fetch(g, "b", &why);

    g->ca.fault.countdown = -1;
    (void)mem_fault_set(-1);
    pass(g, 2 * CERT_RETRY_FIRST_MS);
    uint64_t deadline = clock_mono_ms() + WAIT_MS;
    for (int i = 0; (a < 0 || b < 0) && clock_mono_ms() < deadline; i++) {
        if (a == -EAGAIN || b == -EAGAIN) {
            return false; /* somebody was never answered */
        }
        pass(g, CERT_RETRY_FIRST_MS);
        a = fetch(g, "a", &why);
        b = fetch(g, "b", &why);
    }
    return a == 0 && b == 0;
}

TEST(a_connection_that_fails_at_any_call_fails_fetches_once)
{
    struct rig g;

    rig_start(&g);
    CHECK(two_fetches(&g));
    int calls = g.ca.fault.calls;
    CHECK(rig_stop(&g));
    CHECK(calls > 10);
    for (int at = 0; at < calls; at++) {
        rig_start(&g);
        g.ca.fault.countdown = at;
        CHECK(two_fetches(&g));
        CHECK(rig_stop(&g));
    }
    printf("# %d fault points\n", calls);
}

TEST(short_memory_at_any_point_fails_fetches_once)
{
    struct rig g;

    (void)mem_fault_set(-1);
    rig_start(&g);
    (void)mem_fault_set(1 << 20);
    struct diag why = {0};
    CHECK_INT(fetch(&g, "a", &why), 0);
    CHECK_INT(fetch(&g, "b", &why), 0);
    unsigned tries = mem_fault_set(-1);
    CHECK(rig_stop(&g));
    CHECK(tries > 0);
    for (unsigned at = 0; at < tries; at++) {
        rig_start(&g);
        (void)mem_fault_set((int)at);
        CHECK(two_fetches(&g));
        CHECK(rig_stop(&g));
    }
    printf("# %u allocations failed\n", tries);
}
