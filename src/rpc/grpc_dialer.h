/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a client of the control plane gets its connections from: address, TLS, token and headers are
 * the dialer's business (rpc/uplink.h is the real one), when to connect is the client's. One attempt
 * at a time.
 */
#pragma once

#include "rpc/grpc_client.h"

struct grpc_dialer {
    /* Starts an attempt; wake gets WAKE_CHILD when poll is worth calling. */
    void (*start)(struct grpc_dialer *d, struct task *wake);
    /* (*) 0: *out is the caller's and wakes owner as grpc_client_new says; *out_metadata is borrowed
     * until the next start. Any error but -EAGAIN ends the attempt. */
    int (*poll)(struct grpc_dialer *d, struct task *owner, struct grpc_client **out,
                const struct message **out_metadata, struct diag *why);
    /* Gives an attempt up; fine when there is none. */
    void (*stop)(struct grpc_dialer *d);
};
