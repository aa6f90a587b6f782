/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A listening socket on a loop. The owner's task is woken when connections may wait and takes them
 * one by one; how many it takes in one run is its own decision (wake yourself for the rest).
 *
 * When descriptors or memory run out, accepting pauses and a timer resumes it: an edge-triggered
 * listener would sleep for ever, a level-triggered one would spin. The loop counts the pauses.
 */
#pragma once

#include "base/ip.h"
#include "io/loop.h"

enum { LISTENER_PAUSE_MIN_MS = 10, LISTENER_PAUSE_MAX_MS = 1000 };

struct listener;

void listener_close(struct listener *l);
/* Takes fd, a non-blocking socket that listens (TCP or Unix). owner is woken with WAKE_START at
 * once, later with WAKE_IO or WAKE_TIMER. On failure fd is closed. */
struct listener *listener_new(struct loop *l, int take_fd, struct task *owner, struct diag *why)
    FREED_BY(listener_close);
AUTO_DEFINE(listener, struct listener *, listener_close);

/* A descriptor that is the caller's. -EAGAIN promises a wake. Any other failure is final: the socket
 * itself is broken. *out_peer is zero for Unix peers. */
MUST_USE int listener_accept(struct listener *l, struct endpoint *out_peer);

/* What came since the loop last looked is accepted, too: for who closes it in order, for what waits in it
 * then is reset. */
void listener_look(struct listener *l);
int listener_fd(const struct listener *l); /* borrowed */
