/* SPDX-License-Identifier: Apache-2.0 */
/* The conformance battery of streams over TLS sessions, on pipes and on TCP. */
#include <stdlib.h>
#include <sys/socket.h>

#include "io/tcp_stream.h"
#include "mempipe.h"
#include "pki.h"
#include "stream_battery.h"
#include "tcp_pair.h"
#include "tls/tls_stream.h"

static struct {
    struct tls_ctx *ctx;
    struct jobs *pool; /* of the loop in use, which it must not outlive: it posts there */
    struct tls_loop *tls;
} mesh;

static int secure(struct loop *l, struct stream *ends[2])
{
    static const struct tls_options options = {.limits = {.update_records = 7}};
    struct handshake_spec client = pki_handshake(true);
    struct handshake_spec server = pki_handshake(false);

    if (tls_ctx_new(&mesh.ctx, &options, NULL) < 0) {
        return -ENOMEM;
    }
    mesh.pool = jobs_new(1, 100, 100, NULL);
    mesh.tls = tls_loop_new(l, mesh.pool, mesh.ctx, NULL);
    ends[0] = tls_stream_new(mesh.tls, ends[0], &client, 1);
    ends[1] = tls_stream_new(mesh.tls, ends[1], &server, 2);
    return 0;
}

static int over_pipe(void *arg, struct loop *l, struct stream *out[2])
{
    mempipe_pair(out, *(const size_t *)arg, NULL);
    return secure(l, out);
}

static int over_tcp(void *arg, struct loop *l, struct stream *out[2])
{
    static const int small = 20000;

    (void)arg;
    tcp_pair(l, out);
    for (int i = 0; i < 2; i++) { /* so that batches are taken in many bites */
        (void)setsockopt(tcp_stream_fd(out[i]), SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
        (void)setsockopt(tcp_stream_fd(out[i]), SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
    }
    return secure(l, out);
}

static void release(void *arg, struct loop *l)
{
    (void)arg;
    (void)l;
    tls_loop_free(mesh.tls);
    mesh.tls = NULL;
    jobs_free(MOVE(mesh.pool));
    tls_ctx_free(MOVE(mesh.ctx));
}

static size_t narrow = 25000; /* neither whole records nor whole batches fit */

static const struct battery_kit pipe_kit = {.pair = over_pipe,
                                            .done = release,
                                            .live = mempipe_live,
                                            .arg = &narrow,
                                            .has = BATTERY_RESET | BATTERY_DELIVERS |
                                                   BATTERY_EXACT_WAKES,
                                            .patience_ms = 10000,
                                            .window_max = 1 << 20};
static const struct battery_kit tcp_kit = {.pair = over_tcp,
                                           .done = release,
                                           .has = BATTERY_RESET | BATTERY_DELIVERS |
                                                  BATTERY_EXACT_WAKES,
                                           .patience_ms = 10000};

STREAM_BATTERY(pipe, &pipe_kit)
STREAM_BATTERY(tcp, &tcp_kit)
