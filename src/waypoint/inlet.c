/* SPDX-License-Identifier: Apache-2.0 */
#include "waypoint/inlet.h"

#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "io/sock.h"
#include "io/tcp_stream.h"
#include "waypoint/arrival.h"

/* One for all clients: their addresses share it. */
enum { CREDENTIAL_WAIT_MS = 10000, INLET_LANE = 0 };

static struct log_scope scope = LOG_SCOPE("tunnel");

enum inlet_step {
    INLET_CREDENTIAL, /* the own certificate is on its way */
    INLET_OPEN        /* the server has the stream; it has deadlines of its own */
};

static void enter(struct inlet *i, enum inlet_step next)
{
    i->step = next;
    timer_clear(&i->limit);
    if (next == INLET_CREDENTIAL) {
        timer_set(&i->limit, &i->task, CREDENTIAL_WAIT_MS);
    }
}

static void inlet_free(struct inlet *i, int why)
{
    own_wait_stop(&i->wait);
    list_remove(&i->in_engine);
    timer_clear(&i->limit);
    task_fini(&i->task);
    if (i->server) {
        hbone_server_close(i->server, why);
    }
    stream_close(i->tcp, -ERR_CANCELLED);
    identity_unref(i->peer);
    atomic_fetch_sub_explicit(&i->engine->load, 1, memory_order_relaxed);
    mem_free(i);
}

static void refuse(struct inlet *i, int r, const char *error)
{
    access_refused(i->engine->recorder, ACCESS_WAYPOINT, &i->client, &i->local, r, error);
    inlet_free(i, r);
}

static void serve(struct inlet *i, struct credential *credential)
{
    static const char *const alpn[] = {"h2"};
    struct handshake_spec spec = {
        .role = TLS_MESH_SERVER, .credential = credential, .alpn = alpn, .alpn_count = 1};
    struct stream *tls =
        tls_stream_accept(i->engine->tls, i->tcp, &spec, INLET_LANE, &i->client.ip);

    i->tcp = NULL;
    i->server = hbone_server_new(i->engine->hbone, tls, &i->task, &i->engine->budget);
    enter(i, INLET_OPEN);
    if (i->engine->draining) {
        hbone_server_drain(i->server);
    }
}

static int step_credential(struct inlet *i)
{
    struct credential *credential = NULL;
    struct diag why = {0};
    int r = own_credential(&i->engine->own, &credential, &why);

    if (r == -EAGAIN && timer_is_due(&i->limit)) {
        r = why.code < 0 ? why.code
                         : FAIL(&why, -ERR_DEADLINE, "own certificate did not arrive in time");
    }
    if (r == -EAGAIN) {
        own_wait_start(&i->engine->own, &i->wait, &i->task);
        return r;
    }
    own_wait_stop(&i->wait);
    if (r < 0) {
        refuse(i, r, why.text);
        return 1;
    }
    serve(i, credential);
    return 0;
}

/* Only now is it known who is there. */
static int learn_peer(struct inlet *i)
{
    struct stream *below = hbone_server_below(i->server);
    const struct tls_peer *peer = below ? tls_stream_peer(below) : NULL;
    struct diag why = {0};

    if (i->peer) {
        return 0;
    }
    if (!peer || !peer->identity) {
        return -ERR_IDENTITY;
    }
    return identity_parse(&i->peer, peer->identity, strlen(peer->identity), &why);
}

static void ended(struct inlet *i, int r)
{
    struct diag copy = *hbone_server_diag(i->server);

    if (r < 0 && !i->shaken) {
        refuse(i, r, copy.text[0] ? copy.text : err_text(r));
        return;
    }
    if (r < 0) {
        log_debug(&scope, "tunnel ended", F_DIAG(&copy));
    }
    inlet_free(i, r < 0 ? r : 0);
}

static int step_open(struct inlet *i)
{
    struct stream *below = hbone_server_below(i->server);

    i->shaken = i->shaken || (below && tls_stream_peer(below));
    for (;;) {
        struct hbone_request *request = NULL;
        int r = hbone_server_next(i->server, &request);
        if (r == -EAGAIN) {
            return r;
        }
        if (r <= 0) {
            ended(i, r);
            return 1;
        }
        if (learn_peer(i) < 0) {
            hbone_request_refuse(request, 503);
        } else {
            arrival_open(i, request);
        }
    }
}

static void run(struct task *task, unsigned why)
{
    struct inlet *i = container_of(task, struct inlet, task);

    (void)why; /* every wake is a hint */
    while ((i->step == INLET_CREDENTIAL ? step_credential : step_open)(i) == 0) {
    }
}

void inlet_open(struct engine *e, int take_fd, const struct endpoint *peer)
{
    struct inlet *i = mem_new(struct inlet);

    (void)sock_set_nodelay(take_fd); /* a socket without it still works */
    task_init(&i->task, e->loop, "tunnel", run);
    i->engine = e;
    i->client = *peer;
    list_append(&e->inlets, &i->in_engine);
    int r = sock_local(take_fd, &i->local);
    i->tcp = tcp_stream_new(e->loop, take_fd);
    enter(i, INLET_CREDENTIAL);
    if (r < 0) {
        inlet_free(i, r);
        return;
    }
    task_wake(&i->task, WAKE_START);
}

void inlet_drain(struct inlet *i)
{
    if (i->server) { /* else when there is one */
        hbone_server_drain(i->server);
    }
}

void inlet_abort(struct inlet *i, int why)
{
    inlet_free(i, why);
}
