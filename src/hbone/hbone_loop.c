/* SPDX-License-Identifier: Apache-2.0 */
#include "hbone/hbone_loop.h"

#include "base/mem.h"
#include "hbone/tunnel_wire_int.h"

static const struct hbone_limits defaults = {
    .stream_window_bytes = 4 << 20,
    .conn_window_bytes = 16 << 20,
    .frame_bytes = FRAME_SIZE_MAX,
    .server_streams = 200,
    .pool_streams = 100,
    .pool_tunnels = 1024,
    .pool_waiting = 4096,
    .preface_ms = 10000,
    .first_request_ms = 60000,
    .response_ms = 30000,
    .ping_ms = 10000,
    .pong_ms = 20000,
    .stall_ms = 30000,
    .idle_ms = 300000,
    .drain_ms = 1000,
};

#define FILL(field)                                                                                \
    if (l->field == 0) {                                                                           \
        l->field = defaults.field;                                                                 \
    }

static void fill_in(struct hbone_limits *l)
{
    FILL(stream_window_bytes)
    FILL(conn_window_bytes)
    FILL(frame_bytes)
    FILL(server_streams)
    FILL(pool_streams)
    FILL(pool_tunnels)
    FILL(pool_waiting)
    FILL(preface_ms)
    FILL(first_request_ms)
    FILL(response_ms)
    FILL(ping_ms)
    FILL(pong_ms)
    FILL(stall_ms)
    FILL(idle_ms)
    FILL(drain_ms)
}

static void rest(struct loop_rest *r)
{
    struct hbone_loop *home = container_of(r, struct hbone_loop, rest);

    if (home->slab_used) {
        home->slab_used = false;
        loop_stir(home->loop);
    } else {
        mem_pages_free(MOVE(home->slab), TUNNEL_BATCH);
    }
    chunk_pool_rest(&home->chunks);
}

struct hbone_loop *hbone_loop_new(struct loop *l, const struct hbone_limits *limits,
                                  struct budget *budget)
{
    struct hbone_loop *home = mem_new(struct hbone_loop);

    home->loop = l;
    home->limits = limits ? *limits : defaults;
    fill_in(&home->limits);
    home->budget = budget;
    chunk_pool_init(&home->chunks, l);
    list_init(&home->tunnels);
    home->rest.rest = rest;
    loop_rest_start(l, &home->rest);
    return home;
}

/* Only tunnels that are on their way out are left: their holders have let go. */
void hbone_loop_free(struct hbone_loop *home)
{
    if (!home) {
        return;
    }
    list_for_each_safe (node, &home->tunnels) {
        tunnel_free(container_of(node, struct tunnel, in_loop));
    }
    loop_rest_stop(&home->rest);
    chunk_pool_fini(&home->chunks);
    hpack_decoder_free(home->blank);
    mem_pages_free(home->slab, TUNNEL_BATCH);
    mem_free(home);
}

uint8_t *hbone_loop_slab(struct hbone_loop *home)
{
    if (!home->slab) {
        home->slab = mem_pages(TUNNEL_BATCH);
    }
    home->slab_used = true;
    loop_stir(home->loop);
    return home->slab;
}

const struct hbone_stats *hbone_loop_stats(struct hbone_loop *home)
{
    home->stats.buffered_bytes = home->chunks.queued_bytes;
    return &home->stats;
}
