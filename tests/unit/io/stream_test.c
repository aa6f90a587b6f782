/* SPDX-License-Identifier: Apache-2.0 */
/* The conformance battery over the streams of this folder and over the test pipe. */
#include "io/stream.h"

#include "io/prefixed_stream.h"
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

/* With nothing before it: all calls go through. */
static int prefixed_pipe(void *arg, struct loop *l, struct stream *out[2])
{
    (void)arg;
    (void)l;
    mempipe_pair(out, 1000, NULL);
    for (int i = 0; i < 2; i++) {
        struct bytes none;
        bytes_init(&none, 100);
        out[i] = prefixed_stream_new(out[i], &none);
    }
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
static const struct battery_kit prefixed_kit = {
    .pair = prefixed_pipe,
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
STREAM_BATTERY(prefixed, &prefixed_kit)

TEST(what_was_read_before_comes_first)
{
    struct stream *end[2];
    struct bytes before;
    char got[16] = "";

    mempipe_pair(end, 1000, NULL);
    bytes_init(&before, 100);
    CHECK_INT(bytes_add(&before, "one ", 4), 0);
    CHECK_INT(stream_write(end[0], "two", 3), 3);
    CHECK_INT(stream_flush(end[0]), 0);
    struct stream *s = prefixed_stream_new(end[1], &before);
    ssize_t a = stream_read(s, got, 2);
    ssize_t b = stream_read(s, got + 2, 10);
    ssize_t c = stream_read(s, got + 4, 10);
    ssize_t d = stream_read(s, got + 7, 1);
    stream_close(s, 0);
    stream_close(end[0], 0);
    CHECK_INT(a * 1000 + b * 100 + c, 2203);
    CHECK(d == -EAGAIN && before.len == 0);
    CHECK_STR(got, "one two");
}
