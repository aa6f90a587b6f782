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

static const char *const expected[] = {"spiffe://cluster.local/ns/shop/sa/server"};

struct mesh {
    struct tls_ctx *ctx;
    struct credential *server;
    struct credential *client;
    struct jobs *pool; /* of the loop in use, which it must not outlive: it posts there */
    struct tls_loop *tls;
};
static struct mesh mesh;

static void free_mesh(void)
{
    tls_ctx_free(mesh.ctx);
    mesh.server = credential_unref(mesh.server);
    mesh.client = credential_unref(mesh.client);
}

static void need_mesh(void)
{
    static const struct tls_options options = {.limits = {.update_records = 7}};

    if (mesh.ctx) {
        return;
    }
    struct pki_cert root = pki_root(PKI_P256);
    mesh.server = pki_credential(&root, "server");
    mesh.client = pki_credential(&root, "client");
    pki_free(&root);
    if (tls_ctx_new(&mesh.ctx, &options, NULL) < 0) {
        abort();
    }
    (void)atexit(free_mesh);
}

static void secure(struct loop *l, struct stream *ends[2])
{
    struct handshake_spec client = {
        .role = TLS_MESH_CLIENT, .credential = mesh.client, .expect = expected, .expect_count = 1};
    struct handshake_spec server = {.role = TLS_MESH_SERVER, .credential = mesh.server};

    mesh.pool = jobs_new(1, 100, 100, NULL);
    mesh.tls = tls_loop_new(l, mesh.pool, mesh.ctx, NULL);
    ends[0] = tls_stream_new(mesh.tls, ends[0], &client, 1);
    ends[1] = tls_stream_new(mesh.tls, ends[1], &server, 2);
}

static int over_pipe(void *arg, struct loop *l, struct stream *out[2])
{
    need_mesh();
    mempipe_pair(out, *(const size_t *)arg, NULL);
    secure(l, out);
    return 0;
}

static int over_tcp(void *arg, struct loop *l, struct stream *out[2])
{
    static const int small = 20000;

    (void)arg;
    need_mesh();
    tcp_pair(l, out);
    for (int i = 0; i < 2; i++) { /* so that batches are taken in many bites */
        (void)setsockopt(tcp_stream_fd(out[i]), SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
        (void)setsockopt(tcp_stream_fd(out[i]), SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
    }
    secure(l, out);
    return 0;
}

static void release(void *arg, struct loop *l)
{
    (void)arg;
    (void)l;
    tls_loop_free(mesh.tls);
    mesh.tls = NULL;
    jobs_free(MOVE(mesh.pool));
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
