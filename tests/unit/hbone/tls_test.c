/* SPDX-License-Identifier: Apache-2.0 */
/* The conformance battery over tunnel streams whose tunnel runs over TLS: DATA frames are laid into
 * the records to be. And a tunnel in a tunnel, each with its own TLS (contract 2.11). */
#include <stdlib.h>

#include "base/clock.h"
#include "mempipe.h"
#include "pki.h"
#include "stream_battery.h"
#include "tcp_pair.h"
#include "tls/tls_stream.h"
#include "tunnel_pair.h"

enum { PATIENCE_MS = 30000 };

struct kit_state {
    bool nested;
    struct jobs *pool; /* it posts to the loop, and must not outlive it */
    struct tls_ctx *ctx;
    struct tls_loop *tls;
    struct tunnel_pair pair;
    struct tunnel_pair inner;
};

static void secure(struct kit_state *k, struct stream *ends[2])
{
    struct handshake_spec client = pki_handshake(true);
    struct handshake_spec server = pki_handshake(false);

    ends[0] = tls_stream_new(k->tls, ends[0], &client, 1);
    ends[1] = tls_stream_new(k->tls, ends[1], &server, 2);
}

static int settle(struct loop *l, struct stream *dialled)
{
    int r = -EAGAIN;

    for (uint64_t end = clock_mono_ms() + PATIENCE_MS; r == -EAGAIN && clock_mono_ms() < end;) {
        r = hbone_dial_ready(dialled);
        loop_turn(l, r == -EAGAIN ? 1 : 0);
    }
    return r;
}

/* Two ends become two ends of a tunnel stream between them. */
static int through(struct kit_state *k, struct tunnel_pair *p, struct loop *l,
                   struct stream *ends[2])
{
    tunnel_pair_init(p, l, NULL);
    secure(k, ends);
    tunnel_pair_serve(p, ends[1], NULL);
    ends[0] = hbone_dial_once(p->home, ends[0], &tunnel_pair_head, NULL);
    if (!tunnel_pair_wait(p, 1)) {
        return -ERR_DEADLINE;
    }
    ends[1] = p->accepted[0];
    return settle(l, ends[0]);
}

static int make_pair(void *arg, struct loop *l, struct stream *out[2])
{
    struct kit_state *k = arg;

    k->pool = jobs_new(1, 100, 100, NULL);
    if (tls_ctx_new(&k->ctx, NULL, NULL) < 0) {
        return -ENOMEM;
    }
    k->tls = tls_loop_new(l, k->pool, k->ctx, NULL);
    unix_pair(l, out);
    int r = through(k, &k->pair, l, out);
    return r == 0 && k->nested ? through(k, &k->inner, l, out) : r;
}

static void end_pair(void *arg, struct loop *l)
{
    struct kit_state *k = arg;

    (void)l;
    if (k->nested) {
        tunnel_pair_fini(&k->inner);
    }
    tunnel_pair_fini(&k->pair);
    tls_loop_free(k->tls);
    jobs_free(k->pool);
    tls_ctx_free(k->ctx);
}

static struct kit_state plain;
static struct kit_state nested = {.nested = true};

static const struct battery_kit tls_kit = {.pair = make_pair,
                                           .done = end_pair,
                                           .arg = &plain,
                                           .has = BATTERY_RESET | BATTERY_DELIVERS,
                                           .patience_ms = 5,
                                           .window_max = 10 << 20};
static const struct battery_kit nested_kit = {.pair = make_pair,
                                              .done = end_pair,
                                              .arg = &nested,
                                              .has = BATTERY_RESET | BATTERY_DELIVERS,
                                              .patience_ms = 5,
                                              .window_max = 20 << 20};

STREAM_BATTERY(over_tls, &tls_kit)
STREAM_BATTERY(in_a_tunnel, &nested_kit)
