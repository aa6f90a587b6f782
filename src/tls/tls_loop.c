/* SPDX-License-Identifier: Apache-2.0 */
#include "base/mem.h"
#include "tls/tls_stream_int.h"

static void rest(struct loop_rest *r)
{
    struct tls_loop *l = container_of(r, struct tls_loop, rest);

    if (l->in.used || l->in.holder) {
        loop_stir(l->loop);
    } else {
        mem_pages_free(MOVE(l->in.buf), TLS_IN_BYTES);
        mem_free(MOVE(l->nested));
    }
    if (l->out.used || l->out.holder) {
        loop_stir(l->loop);
    } else {
        mem_pages_free(MOVE(l->out.buf), TLS_OUT_BYTES);
    }
    l->in.used = false;
    l->out.used = false;
}

struct tls_loop *tls_loop_new(struct loop *l, struct jobs *pool, struct tls_ctx *ctx,
                              const struct tls_loop_options *options)
{
    struct tls_loop *t = mem_new(struct tls_loop);

    t->loop = l;
    t->rest.rest = rest;
    loop_rest_start(l, &t->rest);
    t->pool = pool;
    t->ctx = ctx;
    t->options = options ? *options : (struct tls_loop_options){0};
    if (t->options.handshakes_max == 0) {
        t->options.handshakes_max = TLS_HANDSHAKES_MAX;
    }
    if (t->options.lane_max == 0) {
        t->options.lane_max = TLS_LANE_HANDSHAKES_MAX;
    }
    if (t->options.handshake_ms == 0) {
        t->options.handshake_ms = TLS_HANDSHAKE_MS;
    }
    map_init(&t->lanes);
    list_init(&t->lingering);
    return t;
}

/* Nobody owns what still lingers: it ends here. */
static void end_lingering(struct tls_loop *l)
{
    list_for_each_safe (n, &l->lingering) {
        struct tls_stream *t = container_of(n, struct tls_stream, in_lingering);
        stream_close(t->below, -ERR_CANCELLED);
        tls_stream_free(t);
    }
}

void tls_loop_free(struct tls_loop *l)
{
    if (l) {
        loop_rest_stop(&l->rest);
        end_lingering(l);
        map_fini(&l->lanes);
        mem_pages_free(l->in.buf, TLS_IN_BYTES);
        mem_pages_free(l->out.buf, TLS_OUT_BYTES);
        mem_free(l->nested);
        mem_free(l);
    }
}

struct tls_loop_stats tls_loop_stats(const struct tls_loop *l)
{
    return l->stats;
}
