/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A gRPC service to test against, by path:
 *   /t/Echo    every message comes back, then OK       /t/Fail   NOT_FOUND with an odd text
 *   /t/Count   one message of N times 'x' (N in the request), then OK
 *   /t/Half    like Echo, then ABORTED                 /t/Hang   never answers
 * /t/Unknown is refused as a method nobody knows.
 */
#pragma once

#include "base/bytes.h"
#include "rpc/grpc_server.h"

enum { SERVICE_CALLS = 16 };

struct service;

struct serving {
    struct task task;
    struct service *in;
    struct grpc_call *call;
    struct bytes message;
    bool answers; /* message has to be sent back */
};

struct service {
    struct task task;
    struct grpc_server *server;
    struct serving at[SERVICE_CALLS];
    unsigned calls;
    int failure;
};

void service_start(struct service *v, struct loop *l, const struct grpc_server_options *options);
void service_stop(struct service *v);
