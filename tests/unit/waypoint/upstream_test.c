/* SPDX-License-Identifier: Apache-2.0 */
#include "waypoint/upstream.h"

#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "rig.h"
#include "t.h"
#include "test_netns.h"
#include "waypoint/cluster.h"

#define HOST "web.shop.svc"
#define KEY  "shop/" HOST

enum { TURNS = 4000 };

static struct upstream *application(struct rig *r)
{
    struct upstream_key key = {.workload = world_workload(engine_world(r->engine), "uid-web"),
                               .at = r->at,
                               .protocol = r->h2 ? UPSTREAM_H2 : UPSTREAM_H1};

    return upstream_use(r->engine->upstreams, &key);
}

static bool is_granted(struct rig *r, struct lease *l)
{
    for (unsigned i = 0; i < TURNS && lease_result(l) == -EAGAIN; i++) {
        (void)loop_turn(r->loop, 1);
    }
    return lease_result(l) == 0;
}

/* Two connections that nobody uses. */
static bool have_two_idle(struct rig *r, struct upstream *u, struct task *asker)
{
    struct lease l[2];
    bool granted = lease_start(&l[0], u, asker, true) == -EAGAIN &&
                   lease_start(&l[1], u, asker, true) == -EAGAIN && is_granted(r, &l[0]) &&
                   is_granted(r, &l[1]);

    lease_end(&l[0]);
    lease_end(&l[1]);
    for (unsigned i = 0; i < TURNS && upstreams_count(r->engine->upstreams).idle < 2; i++) {
        (void)loop_turn(r->loop, 1);
    }
    return granted && upstreams_count(r->engine->upstreams).idle == 2;
}

static void nothing(struct task *t, unsigned why)
{
    (void)t;
    (void)why;
}

/* Somebody who asks the application. */
struct user {
    struct rig r;
    struct task task;
    struct upstream *u;
};

static void user_start(struct user *x, bool h2)
{
    x->r = (struct rig){.h2 = h2};
    rig_start(&x->r);
    task_init(&x->task, x->r.loop, "user", nothing);
    x->u = application(&x->r);
}

static void user_end(struct user *x)
{
    if (x->u) {
        upstream_unuse(x->u);
    }
    task_fini(&x->task);
    rig_end(&x->r);
}

TEST(so_many_requests_are_under_way_and_no_more_however_many_connections_are_free)
{
    struct user x;
    struct lease a, b;

    user_start(&x, false);
    CHECK(have_two_idle(&x.r, x.u, &x.task));
    x.u->limits.requests = 1;
    CHECK_INT(lease_start(&a, x.u, &x.task, false), 0);
    CHECK_INT(lease_start(&b, x.u, &x.task, false), -ERR_LIMIT);
    CHECK_INT(lease_result(&b), -ERR_LIMIT);
    CHECK_INT(upstreams_count(x.r.engine->upstreams).overflowed, 1);
    lease_end(&b); /* it is none */
    CHECK_INT(x.u->in_flight, 1);
    lease_end(&a);
    CHECK_INT(lease_start(&b, x.u, &x.task, false), 0);
    lease_end(&b);
    user_end(&x);
}

/* Of the service: at each endpoint. */
static bool limit_the_service(struct rig *r, struct l7_limits limits)
{
    struct l7_traffic traffic = {.resource = "shop/gate/" KEY "/80/traffic",
                                 .ns = "shop",
                                 .hostname = HOST,
                                 .limits = limits};
    struct l7_delta *d = l7_delta_new(engine_l7(r->engine));
    const struct l7_traffic *made = NULL;
    struct diag why = {0};

    if (l7_traffic_new(&made, &traffic, &why) < 0) {
        printf("# %s\n", why.text);
        l7_delta_free(d);
        return false;
    }
    (void)l7_put_traffic(d, made);
    snap_publish(&r->l7s, 1, l7_snap(l7_next(d)));
    for (int i = 0; i < 3; i++) { /* it is adopted between two turns */
        loop_poke(r->loop);
        (void)loop_turn(r->loop, 0);
    }
    return true;
}

TEST(the_limits_of_a_service_hold_where_another_way_leads_to_the_same_endpoint)
{
    struct cluster_ask ask = {.seed = 1};
    struct rig r = {.seen = NULL};

    rig_start(&r);
    CHECK(limit_the_service(&r, (struct l7_limits){.requests = 1}));
    const struct workload *w = world_workload(engine_world(r.engine), "uid-web");
    struct cluster *service = cluster_of_service(r.engine->clusters, KEY, 80, UPSTREAM_H1);
    struct cluster *pod =
        cluster_of_workload(r.engine->clusters, w, &r.at.ip, r.at.port, UPSTREAM_H1);
    CHECK(service && pod);
    struct upstream *by_pod = cluster_pick(pod, &ask);
    CHECK(by_pod);
    CHECK_INT(by_pod->limits.requests, 0);
    struct upstream *by_service = cluster_pick(service, &ask);
    CHECK(by_service == by_pod);
    CHECK_INT(by_service->limits.requests, 1);
    upstream_unuse(by_pod);
    upstream_unuse(by_service);
    rig_end(&r);
}

/* ---- what becomes of connections */

static struct upstreams_count count(struct rig *r)
{
    return upstreams_count(r->engine->upstreams);
}

static void settle(struct rig *r)
{
    for (unsigned i = 0; i < 50; i++) {
        (void)loop_turn(r->loop, 0);
    }
}

/* A request on that lease; true: it was answered in full, and nothing of it is left. */
static bool use(struct rig *r, struct lease *l, struct task *asker, const char *name)
{
    AUTO(message) struct message head = {.status = 0};
    char body[64];
    ssize_t n = -EAGAIN;

    message_request(&head, "GET", "http", "a", "/x");
    if (name) {
        message_puts(&head, name, "1");
    }
    struct exchange *x = lease_request(l, &head, true);
    stream_own(&x->s, asker);
    int h = exchange_head(x);
    for (unsigned i = 0; i < TURNS && h == -EAGAIN; i++) {
        (void)loop_turn(r->loop, 1);
        h = exchange_head(x);
    }
    for (unsigned i = 0; i < TURNS && h == 0 && (n == -EAGAIN || n > 0); i++) {
        n = stream_read(&x->s, body, sizeof(body));
        if (n == -EAGAIN) {
            (void)loop_turn(r->loop, 1);
        }
    }
    exchange_close(x, -ERR_CANCELLED);
    lease_end(l);
    return h == 0 && n == 0;
}

static bool is_one_idle(struct rig *r)
{
    for (unsigned i = 0; i < TURNS && count(r).idle != 1; i++) {
        (void)loop_turn(r->loop, 1);
    }
    return count(r).idle == 1 && count(r).connections == 1;
}

TEST(a_connection_rests_after_its_request_and_goes_with_its_endpoint)
{
    for (int h2 = 0; h2 < 2; h2++) {
        struct user x;
        struct lease l;
        user_start(&x, h2 == 1);
        CHECK_INT(lease_start(&l, x.u, &x.task, false), -EAGAIN);
        CHECK(is_granted(&x.r, &l) && use(&x.r, &l, &x.task, NULL));
        CHECK(is_one_idle(&x.r));
        CHECK_INT(lease_start(&l, x.u, &x.task, false), 0);
        upstream_unuse(x.u); /* the lease is the last user */
        x.u = NULL;
        CHECK(use(&x.r, &l, &x.task, NULL));
        settle(&x.r);
        CHECK_INT(count(&x.r).connections, 0);
        CHECK_INT(count(&x.r).endpoints, 0);
        user_end(&x);
    }
}

TEST(a_request_that_cannot_be_sent_costs_no_connection)
{
    struct user x;
    struct lease l;

    user_start(&x, false);
    for (unsigned i = 0; i < 3; i++) {
        int started = lease_start(&l, x.u, &x.task, false);
        CHECK(started == (i == 0 ? -EAGAIN : 0) && is_granted(&x.r, &l));
        CHECK(!use(&x.r, &l, &x.task, "http2-settings"));
        CHECK(is_one_idle(&x.r));
    }
    user_end(&x);
}

TEST(who_waits_for_a_connection_gets_one_when_another_has_had_its_requests)
{
    struct user x;
    struct lease a, b;

    user_start(&x, false);
    x.u->limits = (struct l7_limits){.connections = 1, .requests_per_connection = 1};
    CHECK_INT(lease_start(&a, x.u, &x.task, false), -EAGAIN);
    CHECK(is_granted(&x.r, &a));
    CHECK_INT(lease_start(&b, x.u, &x.task, false), -EAGAIN);
    CHECK(use(&x.r, &a, &x.task, NULL));
    CHECK(is_granted(&x.r, &b));
    CHECK_INT(count(&x.r).opened, 2);
    lease_end(&b);
    user_end(&x);
}

TEST(a_fresh_connection_takes_the_place_of_an_idle_one)
{
    struct user x;
    struct lease l;

    user_start(&x, false);
    x.u->limits.connections = 1;
    for (unsigned i = 0; i < 3; i++) {
        CHECK_INT(lease_start(&l, x.u, &x.task, true), -EAGAIN);
        CHECK(is_granted(&x.r, &l) && use(&x.r, &l, &x.task, NULL));
        CHECK(is_one_idle(&x.r));
    }
    CHECK_INT(count(&x.r).opened, 3);
    user_end(&x);
}

enum { STREAMS = 100, CROWD = 150 };

/* So many ask before there is a connection. */
static bool ask_all(struct lease *all, unsigned n, struct upstream *u, struct task *asker)
{
    unsigned waiting = 0;

    for (unsigned i = 0; i < n; i++) {
        waiting += lease_start(&all[i], u, asker, false) == -EAGAIN;
    }
    return waiting == n;
}

static unsigned granted(struct lease *all, unsigned n)
{
    unsigned have = 0;

    for (unsigned i = 0; i < n; i++) {
        have += lease_result(&all[i]) == 0;
    }
    return have;
}

static void end_all(struct lease *all, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        lease_end(&all[i]);
    }
}

TEST(a_crowd_gets_as_many_connections_as_its_streams_need)
{
    static struct lease all[CROWD];
    struct user x;

    user_start(&x, true);
    CHECK(ask_all(all, CROWD, x.u, &x.task));
    CHECK(is_granted(&x.r, &all[CROWD - 1]));
    CHECK_INT(granted(all, CROWD), CROWD);
    CHECK_INT(count(&x.r).connections, 2);
    end_all(all, CROWD);
    user_end(&x);
}

TEST(who_waits_for_a_stream_gets_it_when_another_has_ended)
{
    static struct lease all[STREAMS + 1];
    struct user x;

    user_start(&x, true);
    x.u->limits.connections = 1;
    CHECK(ask_all(all, STREAMS + 1, x.u, &x.task));
    CHECK(is_granted(&x.r, &all[STREAMS - 1]));
    settle(&x.r);
    CHECK_INT(granted(all, STREAMS + 1), STREAMS);
    CHECK(use(&x.r, &all[0], &x.task, NULL));
    CHECK(is_granted(&x.r, &all[STREAMS]));
    CHECK_INT(count(&x.r).connections, 1);
    end_all(all, STREAMS + 1);
    user_end(&x);
}

/* ---- a passage: TCP that is not read */

/* As long as the connection to the endpoint is being made or is there. */
static bool is_used(struct rig *r, struct upstream *u, bool used)
{
    for (unsigned i = 0; i < TURNS && (u->in_flight > 0) != used; i++) {
        (void)loop_turn(r->loop, 1);
    }
    return (u->in_flight > 0) == used;
}

/* In a namespace whose rules drop what is sent, connecting takes as long as it may. */
TEST(a_tcp_connection_waits_for_its_endpoint_as_long_as_connect_timeout_says)
{
    static const char *const rules[] = {
        "nft", "table inet t { chain o { type filter hook output priority 0; policy drop; }; }",
        NULL};
    static const uint64_t limits[] = {400, 3 * UPSTREAM_CONNECT_MS, 0 /* the usual one */};
    AUTO(netns) struct netns *silent = test_netns_new();
    AUTO(netns) struct netns *home = NULL;

    CHECK_INT(test_netns_run(silent, rules), 0);
    CHECK_INT(netns_from_thread(&home, NULL), 0);
    for (size_t i = 0; i < ARRAY_LEN(limits); i++) {
        struct rig r = {.undecided = true};
        uint64_t limit_ms = limits[i] > 0 ? limits[i] : UPSTREAM_CONNECT_MS;
        char got;
        rig_start(&r);
        CHECK(limit_the_service(&r, (struct l7_limits){.connect_timeout_ms = limits[i]}));
        rig_remove_policy(&r, "p"); /* by a path, which TCP has not */
        settle(&r);
        struct upstream *u = application(&r);
        int fd = rig_dial(&r);
        rig_say(fd, "\1\2\3\4"); /* no HTTP */
        struct pollfd end = {.fd = fd, .events = POLLIN};
        CHECK_INT(netns_enter(silent, NULL), 0);
        bool waits = is_used(&r, u, true);
        loop_advance(r.loop, limit_ms - 100);
        settle(&r);
        bool still = u->in_flight == 1;
        loop_advance(r.loop, 200);
        bool over = is_used(&r, u, false);
        netns_go_home(home);
        CHECK(waits);
        CHECK(still);
        CHECK(over);
        CHECK(poll(&end, 1, 5000) == 1 && recv(fd, &got, 1, MSG_DONTWAIT) <= 0);
        CHECK_INT(r.engine->entry_count, 0);
        CHECK_INT(
            RIG_METRIC(&r, "istio_tcp_connections_failed_total", "destination_workload=\"web\""),
            1);
        (void)close(fd);
        upstream_unuse(u);
        rig_end(&r);
    }
}

/* Its clients choose the port. */
TEST(ports_of_a_pod_that_are_asked_for_once_are_not_kept_for_long)
{
    struct rig r = {.seen = NULL};

    rig_start(&r);
    const struct workload *w = world_workload(engine_world(r.engine), "uid-web");
    for (unsigned port = 1; port <= 3 * CLUSTERS_OWN_MAX; port++) {
        struct cluster_ask ask = {.seed = port};
        struct cluster *c =
            cluster_of_workload(r.engine->clusters, w, &r.at.ip, (uint16_t)port, UPSTREAM_H1);
        struct upstream *u = cluster_pick(c, &ask);
        CHECK(u);
        upstream_unuse(u);
    }
    CHECK(count(&r).endpoints <= CLUSTERS_OWN_MAX);
    rig_end(&r);
}

/* ---- the waypoint ends */

enum { SPOTS = 30 /* turns from the first request to past the last answer */ };

static bool is_empty(struct rig *r)
{
    struct upstreams_count c = count(r);

    return c.connections == 0 && c.idle == 0 && c.waiting == 0;
}

/* Three ask, two of them wait for the only connection; so many turns later it begins to end. */
static bool drains(struct rig *r, unsigned spot)
{
    struct task asker;
    struct lease l[3];
    bool good = true;

    rig_start(r);
    task_init(&asker, r->loop, "asker", nothing);
    struct upstream *u = application(r);
    u->limits.connections = 1;
    for (unsigned i = 0; i < 3; i++) {
        good = lease_start(&l[i], u, &asker, i == 2) == -EAGAIN && good;
    }
    for (unsigned i = 0; i < spot; i++) {
        (void)loop_turn(r->loop, 0);
    }
    upstreams_drain(r->engine->upstreams);
    good = is_granted(r, &l[0]) && use(r, &l[0], &asker, NULL) && good;
    good = is_granted(r, &l[1]) && good;
    lease_end(&l[1]); /* and asks for nothing */
    good = is_granted(r, &l[2]) && use(r, &l[2], &asker, NULL) && good;
    for (unsigned i = 0; i < TURNS && !is_empty(r); i++) {
        (void)loop_turn(r->loop, 1);
    }
    good = is_empty(r) && u->conn_count == 0 && u->connecting == 0 && u->in_flight == 0 && good;
    /* Who came before and asks only now. */
    good = lease_start(&l[0], u, &asker, false) == -EAGAIN && is_granted(r, &l[0]) && good;
    upstream_unuse(u);
    good = use(r, &l[0], &asker, NULL) && good;
    settle(r);
    good = is_empty(r) && count(r).endpoints == 0 && good;
    task_fini(&asker);
    rig_end(r);
    return good;
}

TEST(a_waypoint_that_ends_serves_who_waits_and_keeps_no_connection)
{
    for (unsigned spot = 0; spot < SPOTS; spot++) {
        CHECK(drains(&(struct rig){.h2 = false}, spot));
        CHECK(drains(&(struct rig){.h2 = true}, spot));
    }
}

TEST(a_dial_that_fails_while_the_waypoint_ends_fails_who_waits)
{
    for (int h2 = 0; h2 < 2; h2++) {
        struct user x;
        struct lease l[2];
        user_start(&x, h2 == 1);
        x.u->limits.connections = 1;
        http_server_free(MOVE(x.r.server));
        CHECK_INT(lease_start(&l[0], x.u, &x.task, false), -EAGAIN);
        CHECK_INT(lease_start(&l[1], x.u, &x.task, false), -EAGAIN);
        upstreams_drain(x.r.engine->upstreams);
        CHECK(!is_granted(&x.r, &l[0]) && lease_result(&l[0]) != -EAGAIN);
        CHECK(!is_granted(&x.r, &l[1]) && lease_result(&l[1]) != -EAGAIN);
        end_all(l, 2);
        CHECK(is_empty(&x.r) && x.u->conn_count == 0 && x.u->connecting == 0 &&
              x.u->in_flight == 0);
        upstream_unuse(x.u);
        x.u = NULL;
        CHECK_INT(count(&x.r).endpoints, 0);
        user_end(&x);
    }
}
