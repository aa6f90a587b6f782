/* SPDX-License-Identifier: Apache-2.0 */
#include "ztunnel/tunnel.h"

#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "io/sock.h"
#include "io/tcp_stream.h"
#include "ztunnel/stats.h"
#include "ztunnel/tunnel_request.h"

static struct log_scope scope = LOG_SCOPE("tunnel");

enum tunnel_step {
    TUNNEL_SELF,       /* the control plane does not know this pod yet */
    TUNNEL_CREDENTIAL, /* the certificate is on its way */
    TUNNEL_OPEN        /* the server has the stream; it has deadlines of its own */
};

struct tunnel {
    struct task task;
    struct timer limit;
    struct pod_conn conn;
    struct pod_wait wait;
    struct pod *pod;
    enum tunnel_step step;
    struct stream *tcp; /* NULL once the server has it */
    struct hbone_server *server;
    struct inbound_origin *origin; /* of its streams; its peer is known after the handshake */
    bool shaken;                   /* the handshake was seen to be done */
    int abort;
};

static void enter(struct tunnel *t, enum tunnel_step next)
{
    static const uint64_t limit_ms[] = {
        [TUNNEL_SELF] = SELF_WAIT_MS, [TUNNEL_CREDENTIAL] = CREDENTIAL_WAIT_MS, [TUNNEL_OPEN] = 0};

    t->step = next;
    timer_clear(&t->limit);
    if (limit_ms[next] > 0) {
        timer_set(&t->limit, &t->task, limit_ms[next]);
    }
}

static void tunnel_free(struct tunnel *t, int why)
{
    stats_sockets(t->pod->plane->shard, false, -1);
    pod_wait_stop(&t->wait);
    pod_conn_stop(t->pod, &t->conn);
    timer_clear(&t->limit);
    task_fini(&t->task);
    if (t->server) {
        hbone_server_close(t->server, why);
    }
    stream_close(t->tcp, -ERR_CANCELLED);
    inbound_origin_unref(t->origin);
    mem_free(t);
}

static void refuse(struct tunnel *t, int r, const char *error)
{
    access_refused(t->pod->plane->recorder, ACCESS_DESTINATION, &t->origin->client,
                   &t->origin->door, r, error);
    tunnel_free(t, r);
}

/* ---- steps: 0 to go on, -EAGAIN to wait, 1 when t is gone */

static int step_self(struct tunnel *t)
{
    if (pod_self(t->pod)) {
        enter(t, TUNNEL_CREDENTIAL);
        return 0;
    }
    if (timer_is_due(&t->limit)) {
        refuse(t, -ERR_DEADLINE, "the control plane does not know this workload");
        return 1;
    }
    pod_wait_start(t->pod, &t->wait, &t->task);
    return -EAGAIN;
}

static void serve(struct tunnel *t, struct credential *credential)
{
    static const char *const alpn[] = {"h2"};
    struct handshake_spec spec = {
        .role = TLS_MESH_SERVER, .credential = credential, .alpn = alpn, .alpn_count = 1};
    struct stream *tls = tls_stream_accept(t->pod->plane->tls, t->tcp, &spec,
                                           pod_lane(t->pod, POD_IN), &t->origin->client.ip);

    t->tcp = NULL;
    t->server = hbone_server_new(t->pod->plane->hbone, tls, &t->task, &t->pod->budget);
    enter(t, TUNNEL_OPEN);
    if (t->pod->step == POD_DRAINING) {
        hbone_server_drain(t->server);
    }
}

static int step_credential(struct tunnel *t)
{
    struct credential *credential = NULL;
    struct diag why = {0};
    int r = pod_credential(t->pod, &credential, &why);

    if (r == -EAGAIN && timer_is_due(&t->limit)) {
        r = FAIL(&why, -ERR_DEADLINE, "own certificate did not arrive in time");
    }
    if (r == -EAGAIN) {
        pod_wait_start(t->pod, &t->wait, &t->task);
        return r;
    }
    pod_wait_stop(&t->wait);
    if (r < 0) {
        refuse(t, r, why.text);
        return 1;
    }
    serve(t, credential);
    return 0;
}

/* Only now is it known who is there. */
static int learn_peer(struct tunnel *t, struct diag *why)
{
    struct stream *below = hbone_server_below(t->server);
    const struct tls_peer *peer = below ? tls_stream_peer(below) : NULL;

    if (t->origin->peer) {
        return 0;
    }
    if (!peer || !peer->identity) {
        return FAIL(why, -ERR_IDENTITY, "the peer has no identity");
    }
    return identity_parse(&t->origin->peer, peer->identity, strlen(peer->identity), why);
}

static void take_request(struct tunnel *t, struct hbone_request *request)
{
    struct diag why = {0};

    if (learn_peer(t, &why) < 0) {
        hbone_request_refuse(request, 503);
        return;
    }
    if (pod_is_full(t->pod, POD_IN)) {
        stats_refused(t->pod->plane->shard, false);
        hbone_request_refuse(request, 503);
        return;
    }
    tunnel_request_open(t->pod, request, t->origin);
}

static void ended(struct tunnel *t, int r)
{
    const struct diag *d = hbone_server_diag(t->server);
    struct diag copy = *d;

    if (r < 0 && !t->shaken) {
        refuse(t, r, copy.text[0] ? copy.text : err_text(r));
        return;
    }
    if (r < 0) {
        log_debug(&scope, "tunnel ended", F_QUOTED("pod", t->pod->info.name), F_DIAG(&copy));
    }
    tunnel_free(t, r < 0 ? r : 0);
}

static void note_handshake(struct tunnel *t)
{
    struct stream *below = hbone_server_below(t->server);

    t->shaken = t->shaken || (below && tls_stream_peer(below));
}

static int step_open(struct tunnel *t)
{
    note_handshake(t);
    for (;;) {
        struct hbone_request *request = NULL;
        int r = hbone_server_next(t->server, &request);
        if (r == -EAGAIN) {
            return r;
        }
        if (r <= 0) {
            ended(t, r);
            return 1;
        }
        take_request(t, request);
    }
}

static int step(struct tunnel *t)
{
    switch (t->step) {
    case TUNNEL_SELF:
        return step_self(t);
    case TUNNEL_CREDENTIAL:
        return step_credential(t);
    case TUNNEL_OPEN:
        return step_open(t);
    }
    return -EAGAIN;
}

static void run(struct task *task, unsigned why)
{
    struct tunnel *t = container_of(task, struct tunnel, task);

    (void)why; /* every wake is a hint */
    if (t->abort < 0) {
        tunnel_free(t, t->abort);
        return;
    }
    while (step(t) == 0) {
    }
}

/* ---- as the pod sees it */

static struct tunnel *of(struct pod_conn *c)
{
    return container_of(c, struct tunnel, conn);
}

static void conn_abort(struct pod_conn *c, int why)
{
    of(c)->abort = why;
    task_wake(&of(c)->task, WAKE_DRAIN);
}

static void conn_drain(struct pod_conn *c)
{
    if (of(c)->server) { /* else when there is one */
        hbone_server_drain(of(c)->server);
    }
}

/* Not judged, counted or shown: its streams are, as connections of their own. */
static const struct pod_conn_ops tunnel_ops = {
    .way = POD_IN, .abort = conn_abort, .drain = conn_drain};

void tunnel_open(struct pod *p, int take_fd, const struct endpoint *peer)
{
    struct tunnel *t = mem_new(struct tunnel);

    (void)sock_set_nodelay(take_fd); /* a socket without it still works */
    task_init(&t->task, p->plane->loop, "tunnel", run);
    t->pod = p;
    t->origin = inbound_origin_new();
    t->origin->client = *peer;
    int r = sock_local(take_fd, &t->origin->door);
    t->tcp = tcp_stream_new(p->plane->loop, take_fd);
    stats_sockets(p->plane->shard, false, 1);
    pod_conn_start(p, &t->conn, &tunnel_ops);
    enter(t, TUNNEL_SELF);
    if (r < 0) {
        tunnel_free(t, r);
        return;
    }
    task_wake(&t->task, WAKE_START);
}
