/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a proxy arranges with its process before any thread starts, and how it is asked to end.
 */
#pragma once

#include <stdbool.h>

#include "io/loop.h"

/* TERM and INT are blocked for quit_signals, PIPE is ignored; freed memory of the data path is kept,
 * and none of its loops (so many) allocates where others do. Before the first thread. */
void process_prepare(unsigned loops);
/* As many descriptors as the kernel allows; a failure is logged. */
void process_raise_descriptors(void);

struct quit_signals { /* embedded; zeroed is not open */
    struct fd_watch watch;
    int fd;
    bool open;
};

/* t is woken when TERM or INT has come. */
MUST_USE int quit_signals_open(struct quit_signals *q, struct loop *l, struct task *t,
                               struct diag *why);
/* Whether one has come since the last call. */
bool quit_signals_take(struct quit_signals *q);
void quit_signals_close(struct quit_signals *q);
