/* SPDX-License-Identifier: Apache-2.0 */
/* Takes connections off a listening socket and hands each to what serves its port. */
#pragma once

#include "base/ip.h"
#include "io/listener.h"
#include "ztunnel/pod.h"

struct acceptor;

/* Takes the descriptor. Called from the acceptor's own task. */
typedef void acceptor_open(struct pod *p, int take_fd, const struct endpoint *peer);

/* Takes fd, a listening socket. NULL with why on failure. */
struct acceptor *acceptor_new(struct pod *p, int take_fd, acceptor_open *open, enum pod_way way,
                              struct diag *why);
/* Who waits when the listener closes would be reset. */
void acceptor_take_waiting(struct acceptor *a);
/* Closes the listener. */
void acceptor_free(struct acceptor *a);
