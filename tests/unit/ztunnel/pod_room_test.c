/* SPDX-License-Identifier: Apache-2.0 */
#include <poll.h>
#include <sys/socket.h>

#include "base/mem.h"
#include "io/listener.h"
#include "io/sock.h"
#include "t.h"
#include "tcp_pair.h"
#include "ztunnel/acceptor.h"
#include "ztunnel/pod.h"

static const struct pod_conn_ops ops[POD_WAYS] = {
    [POD_IN] = {.way = POD_IN}, [POD_OUT] = {.way = POD_OUT}};

struct rig {
    struct loop *loop;
    struct pod *pod;
    struct pod_conn *conns;
    unsigned count;
};

static void ignore(struct task *t, unsigned why)
{
    (void)t;
    (void)why;
}

static void rig_start(struct rig *g)
{
    *g = (struct rig){.loop = loop_new(NULL), .pod = mem_new(struct pod)};
    g->conns = mem_array(POD_CONNECTIONS_MAX, sizeof(*g->conns));
    task_init(&g->pod->task, g->loop, "pod", ignore);
    list_init(&g->pod->conns);
    g->pod->step = POD_UP;
}

static void rig_stop(struct rig *g)
{
    while (g->count > 0) {
        pod_conn_stop(g->pod, &g->conns[--g->count]);
    }
    timer_clear(&g->pod->tick);
    task_fini(&g->pod->task);
    mem_free(g->pod);
    mem_free(g->conns);
    loop_free(g->loop);
}

/* Takes as many as the pod lets in; how many that are. */
static unsigned fill(struct rig *g, enum pod_way way)
{
    unsigned before = g->count;

    while (!pod_is_full(g->pod, way)) {
        pod_conn_start(g->pod, &g->conns[g->count++], &ops[way]);
    }
    return g->count - before;
}

TEST(neither_way_takes_all_connections_that_a_pod_may_have)
{
    for (int way = 0; way < POD_WAYS; way++) {
        struct rig g;

        rig_start(&g);
        CHECK_INT(fill(&g, (enum pod_way)way), POD_CONNECTIONS_MAX - POD_CONNECTIONS_KEPT);
        CHECK_INT(fill(&g, (enum pod_way) !way), POD_CONNECTIONS_KEPT);
        CHECK_INT(fill(&g, (enum pod_way)way), 0);
        pod_conn_stop(g.pod, &g.conns[--g.count]); /* one of the other way */
        CHECK(pod_is_full(g.pod, (enum pod_way)way));
        CHECK_INT(fill(&g, (enum pod_way) !way), 1);
        rig_stop(&g);
    }
}

static int taken = -1;

static void take(struct pod *p, int take_fd, const struct endpoint *peer)
{
    (void)p;
    (void)peer;
    taken = take_fd;
}

TEST(who_waits_when_a_listener_is_to_close_is_taken)
{
    struct sockaddr_storage ss;
    struct endpoint at;
    struct plane plane;
    struct rig g;

    rig_start(&g);
    plane.loop = g.loop;
    g.pod->plane = &plane;
    int fd = tcp_test_listener(IP_V4, &at);
    struct pollfd there = {.fd = fd, .events = POLLIN};
    struct acceptor *a = acceptor_new(g.pod, fd, take, POD_IN, NULL);
    CHECK(a);
    (void)loop_turn(g.loop, 0);
    int client = sock_open(IP_V4, SOCK_TYPE_STREAM, NULL);
    (void)connect(client, (struct sockaddr *)&ss, endpoint_to_sockaddr(&at, &ss)); /* in progress */
    CHECK_INT(poll(&there, 1, 30000), 1);
    acceptor_take_waiting(a);
    acceptor_free(a);
    CHECK(taken >= 0);
    sock_close(&taken);
    sock_close(&client);
    rig_stop(&g);
}
