/* SPDX-License-Identifier: Apache-2.0 */
/* The conformance battery over tunnel streams: over sockets, over pipes wide and narrow. */
#include "mempipe.h"
#include "stream_battery.h"
#include "tcp_pair.h"
#include "tunnel_pair.h"

struct kit_state {
    size_t capacity; /* of the pipe below; 0: a socket pair */
    struct tunnel_pair pair;
};

static int make_pair(void *arg, struct loop *l, struct stream *out[2])
{
    struct kit_state *k = arg;
    struct stream *below[2];

    tunnel_pair_init(&k->pair, l, NULL);
    if (k->capacity > 0) {
        mempipe_pair(below, k->capacity, NULL);
    } else {
        unix_pair(l, below);
    }
    tunnel_pair_serve(&k->pair, below[1], NULL);
    out[0] = hbone_dial_once(k->pair.home, below[0], &tunnel_pair_head, NULL);
    if (!tunnel_pair_wait(&k->pair, 1)) {
        return -ERR_DEADLINE;
    }
    out[1] = k->pair.accepted[0];
    return 0;
}

static void end_pair(void *arg, struct loop *l)
{
    struct kit_state *k = arg;

    (void)l;
    tunnel_pair_fini(&k->pair);
}

enum { WINDOW_MAX = 10 << 20 };

#define KIT(name, capacity_)                                                                       \
    static struct kit_state name##_state = {.capacity = (capacity_)};                              \
    static const struct battery_kit name##_kit = {.pair = make_pair,                               \
                                                  .done = end_pair,                                \
                                                  .live = mempipe_live,                            \
                                                  .arg = &name##_state,                            \
                                                  .has = BATTERY_RESET | BATTERY_DELIVERS,         \
                                                  .patience_ms = 5,                                \
                                                  .window_max = WINDOW_MAX};                       \
    STREAM_BATTERY(name, &name##_kit)

KIT(over_a_socket, 0)
KIT(over_a_wide_pipe, 300000)
KIT(over_a_narrow_pipe, 1009)
