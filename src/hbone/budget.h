/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A count of bytes that peers make us hold, with a limit: one budget a pod, below one for all pods of
 * a loop (the process' share of memory divided by its loops, so that no count crosses threads). What was
 * received and waits for a reader is in it, and what waits for a peer that does not read.
 *
 * A budget is never a reason to stop reading a tunnel, for that would stop its other streams. It acts
 * earlier: while it fills, new streams are promised smaller windows (budget_window); once it is over
 * its limit, new streams are refused and streams that hoard are reset. A tunnel accepts less at a time to
 * send, likewise, and from three quarters on only what finds its way empty.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct budget {
    struct budget *parent; /* NULL at the top; outlives this one */
    size_t limit_bytes;
    size_t used_bytes;
};

void budget_init(struct budget *b, size_t limit_bytes, struct budget *parent);
/* b may be NULL: nothing is counted. Charging never fails; what is over the limit shows in the next
 * two answers, for b or any of its parents. */
void budget_charge(struct budget *b, size_t len);
void budget_release(struct budget *b, size_t len);
bool budget_is_over(const struct budget *b);
/* What may be promised to a new stream that would like want bytes: want, or a fraction of it in steps
 * of four, never less than BUDGET_WINDOW_MIN (or want). */
uint32_t budget_window(const struct budget *b, uint32_t want);

enum { BUDGET_WINDOW_MIN = 65535 };
