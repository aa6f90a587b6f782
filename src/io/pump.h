/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One direction of a relay. Lends memory from whichever side can lend it; where neither can, it goes
 * through the loop's scratch memory, and only what the sink refused is kept, bounded by one batch.
 * Between two TCP sockets, long directions are spliced: the bytes stay in the kernel.
 */
#pragma once

#include "base/bytes.h"
#include "io/loop.h"
#include "io/stream.h"

enum pump_step { PUMP_COPY, PUMP_FLUSH, PUMP_SHUT, PUMP_DONE };
enum pump_result { PUMP_BLOCKED, PUMP_AGAIN, PUMP_FINISHED }; /* or a negative error */

enum { PUMP_BATCH_MIN = 16 << 10, PUMP_BATCH_MAX = 512 << 10 };

struct splice_pipe;

struct pump_held {            /* read, refused by the sink */
    struct bytes stuck;       /* at most PUMP_BATCH_MAX */
    struct splice_pipe *pipe; /* NULL unless bytes are in it; see pump_gather */
};

struct pump {
    uint64_t moved;         /* bytes the sink accepted */
    struct pump_held *held; /* NULL: nothing, as always when idle */
    uint32_t splice_at_mib; /* moved: when splicing is tried next; UINT32_MAX: never */
    uint16_t want_kib;      /* to ask for at once; follows what comes */
    uint8_t thin;           /* spliced batches in a row that were not worth it */
    uint8_t step;           /* enum pump_step */
};

/* For these two streams, which pump_run gets every time: they may be replaced meanwhile. */
void pump_init(struct pump *p, const struct stream *src, const struct stream *dst);
void pump_fini(struct pump *p);
/* For hand-over: brings what is in the kernel's pipe into stuck. -ERR_TOO_LARGE when memory is short:
 * the transfer cannot go on elsewhere. */
MUST_USE int pump_gather(struct pump *p);
/* Moves about budget bytes at most. PUMP_AGAIN: budget spent, wake yourself. PUMP_FINISHED: the
 * source ended and the sink was told. */
int pump_run(struct pump *p, struct stream *src, struct stream *dst, struct loop *l, size_t budget);
