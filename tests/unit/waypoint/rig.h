/* SPDX-License-Identifier: Apache-2.0 */
/* One engine with a client in the clear and an application, all on one loop. */
#pragma once

#include "base/num.h"
#include "ca/cert_manager.h"
#include "http/http_server.h"
#include "io/jobs.h"
#include "waypoint/arrival.h"
#include "waypoint/engine.h"
#include "waypoint/stats.h"
#include "waypoint/upstream.h"

enum {
    RIG_BODY = 100000 /* of answers to paths that end in 'L' */,
    RIG_STREAMS = 300,
    RIG_TURNS = 300,
    RIG_TURNS_MAX = 4000 /* for what has to come */
};

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
    /* Upgrades, and what is asked for with a path that ends in 'S': a head and "piece" are sent, or
     * to who says a content-type that, and RIG_MESSAGE; not all of it to paths with "half" in them. */
    struct exchange *streams[RIG_STREAMS];
    unsigned stream_count;
    bool left; /* the service asks for another waypoint */
    /* Set before rig_start. */
    void (*seen)(const struct message *head); /* what the application is asked; may be NULL */
    bool h2;                                  /* what the application speaks */
    bool undecided;                           /* the port does not say so */
};

#define RIG_MESSAGE "\0\0\0\0\5piece" /* of gRPC */

/* A service with one endpoint, the application; a rule with a header change and retries; a policy that
 * denies what begins with /secret, one that audits /audit, a dry run that would deny /dry. */
void rig_start(struct rig *r);
void rig_end(struct rig *r);
/* The application gives up all of r->streams. */
void rig_end_streams(struct rig *r);
void rig_answer(struct rig *r);
/* For the service from now on, beside what else there is: what begins with a path. Replaces one of that
 * name. */
void rig_put_policy(struct rig *r, const char *name, enum l7_action action, bool dry_run,
                    const char *path);
/* Denies by the value of a header. */
void rig_put_header_policy(struct rig *r, const char *name, const char *header, const char *value);
void rig_remove_policy(struct rig *r, const char *name);
/* The waypoint's own: denies, or else allows, what begins with a path. */
void rig_put_own_policy(struct rig *r, const char *name, bool denies, const char *path);
/* Its binding goes, with all of its policies or without them; and the binding comes back alone. */
void rig_unbind(struct rig *r, bool policies);
void rig_bind(struct rig *r);
/* Another rule for the service, that leads nowhere; no policy changes. */
void rig_change_route(struct rig *r);
/* The service asks for another waypoint from now on; its binding stays for those who have not heard. */
void rig_leave(struct rig *r);
/* The application, of that namespace, is guarded for policy of a service there from now on. */
void rig_guard(struct rig *r, const char *ns);
/* The application's pod is told of anew, as it is. */
void rig_retell(struct rig *r);
/* The client's end of a new connection to the service; non-blocking. */
int rig_dial(struct rig *r);
/* Where nothing happens a millisecond passes; else none does, however slow the machine is. */
void rig_turn(struct rig *r);
void rig_say(int fd, const char *text);
/* All that comes until the connection ends, or `until` was seen; without it within RIG_TURNS. */
const char *rig_hear(struct rig *r, int fd, const char *until);
/* Whether the page of recent requests has that text. */
bool rig_has_recent(struct rig *r, const char *text);
/* The value of the first row of that name with all the labels (each `name="value"`); -1: none. */
long long rig_metric(struct rig *r, const char *name, const char *const *labels, size_t count);
#define RIG_METRIC(r, name, ...)                                                                   \
    rig_metric((r), (name), (const char *const[]){__VA_ARGS__},                                    \
               ARRAY_LEN(((const char *const[]){__VA_ARGS__})))
