/* SPDX-License-Identifier: Apache-2.0 */
/* One engine with a client in the clear and an application, all on one loop. */
#pragma once

#include "ca/cert_manager.h"
#include "http/http_server.h"
#include "io/jobs.h"
#include "waypoint/arrival.h"
#include "waypoint/engine.h"
#include "waypoint/stats.h"
#include "waypoint/upstream.h"

enum { RIG_BODY = 100000 }; /* of answers to paths that end in 'L' */

struct rig {
    struct loop *loop;
    struct jobs *jobs;
    struct tls_ctx *tls;
    struct cert_manager *certs;
    struct grpc_dialer nowhere;
    struct config config;
    const struct identity *identity;
    struct metrics *metrics;
    struct snap_slot worlds;
    struct snap_slot l7s;
    struct memory_guard guard; /* a test says how much is used */
    struct engine *engine;
    struct plain_listener door;
    struct task app;
    struct http_server *server; /* may be freed by a test: set it to NULL then */
    struct endpoint at;
    struct exchange *held; /* asked for with a path that ends in 'H': waits for rig_answer */
    void (*seen)(const struct message *head); /* what the application is asked; may be NULL */
};

/* A service with one endpoint, the application; a rule with a header change and retries; a policy that
 * denies what begins with /secret, one that audits /audit, a dry run that would deny /dry. */
void rig_start(struct rig *r);
void rig_end(struct rig *r);
void rig_answer(struct rig *r);
/* The application, of that namespace, is guarded for policy of a service there from now on. */
void rig_guard(struct rig *r, const char *ns);
/* The client's end of a new connection to the service; non-blocking. */
int rig_dial(struct rig *r);
/* Where nothing happens a millisecond passes; else none does, however slow the machine is. */
void rig_turn(struct rig *r);
