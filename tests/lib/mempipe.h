/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two streams joined in memory, with a narrow middle and faults on demand. Stricter than a socket:
 * bytes are shown to the reader only after a flush (or when the pipe is full), and a wake is given
 * only for an -EAGAIN that was answered, so a lost wake or a forgotten flush hangs the test.
 */
#pragma once

#include "io/stream.h"

struct mempipe_fault { /* shared by as many ends as the test wants */
    int calls;         /* stream calls seen */
    int countdown;     /* the call to fail: 0 = the next; negative: none */
    int code;          /* with this */
};

/* fault may be NULL; it is counted on ends[1] only. */
void mempipe_pair(struct stream *ends[2], size_t capacity, struct mempipe_fault *fault);
/* The same, but the ends lend memory (peek, skip, reserve, commit) and take vectors: one contiguous
 * piece a loan, which is enough to tell a wrong count. */
void mempipe_pair_lending(struct stream *ends[2], size_t capacity, struct mempipe_fault *fault);
/* Ends alive: 0 when everything was closed. */
int mempipe_live(void);
