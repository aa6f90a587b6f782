/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An agent with its runtime on a node of the test's own (network and mounts), before a false API and a
 * false node proxy; its clients; and a program that stands in for the waypoint. The program of a test
 * that has this rig is the shim too, when the runtime starts it as one.
 */
#pragma once

#include "fake_api.h"
#include "fake_proxy.h"
#include "node/runtime.h"

enum { PATIENCE_MS = 60000 }; /* programs start slowly on a busy machine */

struct runtime_rig {
    struct loop *loop;
    struct jobs *jobs;
    struct fake_api api;
    struct fake_proxy proxy;
    struct agent *agent;
    struct runtime *runtime;
    char dir[32];
    char zds[64];
    char socket[64];
    char program[64]; /* of waypoints */
};

/* mode: of the namespace, "ambient" or "". */
void runtime_rig_start(struct runtime_rig *g, const char *mode);
void runtime_rig_turn(struct runtime_rig *g);
void runtime_rig_stop(struct runtime_rig *g);
/* The agent alone goes and comes back. */
void runtime_rig_agent_stop(struct runtime_rig *g);
void runtime_rig_agent_start(struct runtime_rig *g);
/* Entries of a folder of the agent's. */
unsigned count_dir(const struct runtime_rig *g, const char *name);
/* Of the workload "cart" and all that it had. */
bool nothing_is_left(const struct runtime_rig *g);

/* A client of the agent's socket. */
struct client {
    int fd;
    int out; /* our end of the command's output; -1 */
    char said[2048];
    size_t len;
};

struct client client_open(const struct runtime_rig *g);
void client_send(struct client *c, const char *line);
/* With standard input from nowhere and both outputs into a pipe. */
void client_send_attached(struct client *c, const char *line);
void client_close(struct client *c);
/* Until something with this text was said, the agent has closed, or our patience is at its end. */
bool await(struct runtime_rig *g, struct client *c, const char *text);
bool await_closed(struct runtime_rig *g, struct client *c);
/* Until there is no workload of that name. */
bool await_gone(struct runtime_rig *g, const char *name);
/* Until its end; the caller's. */
char *read_all(int fd);

#define RUN(attach, command)                                                                       \
    "{\"op\":\"run\",\"attach\":" attach ",\"spec\":{\"namespace\":\"shop\",\"name\":\"cart\","    \
    "\"command\":" command "}}\n"

/* Puts the stand-in where the agent expects the waypoint's program. */
void waypoint_install(const struct runtime_rig *g);
bool waypoint_await_ready(struct runtime_rig *g, const char *name, bool ready);
/* Asks the stand-in for a page that it does not survive. */
void waypoint_crash(const struct runtime_rig *g, const char *name);
