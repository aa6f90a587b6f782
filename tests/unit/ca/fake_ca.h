/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A CA in memory and the dialer that leads to it: a connection carries the token that was current when
 * it was dialled, and the CA takes what it takes when it is asked. Certificates are real ones.
 */
#pragma once

#include "ca/authority.h"
#include "ca/ca_service.h"
#include "mempipe.h"
#include "rpc/grpc_dialer.h"

struct fake_ca {
    struct loop *loop;
    struct jobs *jobs;
    struct grpc_dialer dialer;
    struct task task;
    struct grpc_server *server;
    struct ca_service *service;
    struct authority *authority;
    char folder[32];
    struct mempipe_fault fault; /* of the client's end of every connection */
    const char *token;          /* what the client's file says */
    const char *takes;          /* what the CA takes */
    bool is_away;               /* no connection comes about */
    unsigned dials;
    unsigned calls;
    unsigned refused;
    struct message metadata;
    struct task *wake;
};

void fake_ca_start(struct fake_ca *f, struct loop *l, struct jobs *take_jobs);
void fake_ca_stop(struct fake_ca *f);
