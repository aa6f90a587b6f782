/* SPDX-License-Identifier: Apache-2.0 */
/* The conformance battery over the streams of this folder and over the test pipe. */
#include "io/stream.h"

#include "mempipe.h"
#include "stream_battery.h"
#include "tcp_pair.h"

static int narrow_pipe(void *arg, struct loop *l, struct stream *out[2])
{
    (void)arg;
    (void)l;
    mempipe_pair(out, 1000, NULL);
    return 0;
}

static int lending_pipe(void *arg, struct loop *l, struct stream *out[2])
{
    (void)arg;
    (void)l;
    mempipe_pair_lending(out, 1000, NULL);
    return 0;
}

static int tcp(void *arg, struct loop *l, struct stream *out[2])
{
    (void)arg;
    tcp_pair(l, out);
    return 0;
}

static int local(void *arg, struct loop *l, struct stream *out[2])
{
    (void)arg;
    unix_pair(l, out);
    return 0;
}

static const struct battery_kit pipe_kit = {
    .pair = narrow_pipe,
    .live = mempipe_live,
    .has = BATTERY_RESET | BATTERY_DELIVERS | BATTERY_EXACT_WAKES,
    .window_max = 1000,
};
static const struct battery_kit lending_kit = {
    .pair = lending_pipe,
    .live = mempipe_live,
    .has = BATTERY_RESET | BATTERY_DELIVERS | BATTERY_EXACT_WAKES,
    .window_max = 1000,
};
static const struct battery_kit tcp_kit = {
    .pair = tcp,
    .has = BATTERY_RESET | BATTERY_DELIVERS,
    .patience_ms = 2000,
};
static const struct battery_kit local_kit = {
    .pair = local,
    .has = BATTERY_DELIVERS, /* a Unix socket has no reset */
    .patience_ms = 2000,
};

STREAM_BATTERY(pipe, &pipe_kit)
STREAM_BATTERY(lending, &lending_kit)
STREAM_BATTERY(tcp, &tcp_kit)
STREAM_BATTERY(local, &local_kit)
