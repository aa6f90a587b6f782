/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What all tunnels of one loop share: the receive chunks, the limits and the counters. One a loop; it
 * outlives every pool and server made from it. The loop's thread only.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/auto.h"
#include "hbone/budget.h"

struct loop;
struct hbone_loop;

/* Contract 2.3 and 2.8 unless said otherwise. Zero means the default. */
struct hbone_limits {
    uint32_t stream_window_bytes; /* 4 MiB */
    uint32_t conn_window_bytes;   /* 16 MiB */
    uint32_t frame_bytes;         /* FRAME_SIZE_MAX, and at most that: SETTINGS_MAX_FRAME_SIZE */
    unsigned server_streams;      /* 200: SETTINGS_MAX_CONCURRENT_STREAMS */
    unsigned pool_streams;        /* 100: streams a tunnel of a pool carries at most */
    unsigned pool_tunnels; /* 1024: tunnels of one pool; then idle ones go, or dials wait (ours) */
    unsigned pool_waiting; /* 4096: dials of one pool that wait for a tunnel */
    uint64_t preface_ms;   /* 10 s: from the secure stream to the peer's preface (ours) */
    uint64_t first_request_ms; /* 60 s: from the preface to the first request (ours) */
    uint64_t response_ms;      /* 30 s: from the CONNECT to its answer (ours) */
    uint64_t ping_ms;          /* 10 s after the last answer */
    uint64_t pong_ms;          /* 20 s; longer while the peer says or takes anything else (ours) */
    uint64_t stall_ms; /* 30 s to twice that: the peer takes nothing of what we have (ours) */
    uint64_t idle_ms;  /* 5 min: a pooled tunnel without a stream */
    uint64_t drain_ms; /* 1 s: from the drain's PING to doing without its answer (ours) */
};

struct hbone_stats {
    uint64_t tunnels;        /* connections alive, both roles */
    uint64_t streams;        /* streams alive, both roles */
    uint64_t refused;        /* streams answered with REFUSED_STREAM */
    uint64_t abuse;          /* connections ended because the peer exceeded a budget */
    uint64_t protocol;       /* connections ended because the peer broke the protocol */
    uint64_t hoarders;       /* streams reset because memory was short */
    uint64_t retries;        /* dials moved to another tunnel */
    uint64_t buffered_bytes; /* received and not yet taken by the next hop */
};

/* limits may be NULL. budget (may be NULL) is the parent of what has no budget of its own. */
void hbone_loop_free(struct hbone_loop *l);
struct hbone_loop *hbone_loop_new(struct loop *l, const struct hbone_limits *limits,
                                  struct budget *budget) FREED_BY(hbone_loop_free);
AUTO_DEFINE(hbone_loop, struct hbone_loop *, hbone_loop_free);
/* Borrowed; a snapshot until the next call. */
const struct hbone_stats *hbone_loop_stats(struct hbone_loop *l);
