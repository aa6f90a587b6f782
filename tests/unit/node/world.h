/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A world for the agent with one pod: its kernel, its API and its node proxy, all of them the test's.
 * Every call the agent makes of them is numbered, and one of them can fail. After each change it
 * checks what must hold at any moment (world.broken says what did not).
 */
#pragma once

#include <pthread.h>
#include <stdbool.h>

#include "io/jobs.h"
#include "io/loop.h"
#include "node/agent.h"

enum fault { FAULT_ERROR, FAULT_LOST_PROXY };

struct world {
    struct pod_source source; /* first, so that it can be cast back with container_of */
    struct loop *loop;
    struct jobs *jobs;
    struct agent *agent;
    char dir[32];
    char path[64];

    /* what the user wants */
    bool labelled;
    bool deleted;
    const char *uid; /* of the pod that has the name */
    uint8_t host;    /* the last byte of its address */

    /* what is: job threads write some of it */
    pthread_mutex_t lock;
    enum rules_state kernel;
    bool host_gone; /* the host's rules were taken away */
    bool served;    /* the proxy listens in the pod */
    bool proved;
    bool announced;
    unsigned carried; /* connections through the proxy */
    const char *broken;

    /* the numbered calls */
    int calls;
    int fail_at; /* -1: none */
    enum fault fault;
    int stop_at; /* the agent dies after this call; -1: never */
    bool stopping;
    char trace[4096];

    /* the source */
    struct task *reader;
    bool told_synced;
    bool pod_changed;
    bool namespace_changed;
    unsigned others; /* so many pods of a namespace that is in no mesh are told of first */
    unsigned others_told;
    unsigned others_gone; /* of these */
    unsigned others_gone_told;

    /* the proxy */
    int proxy;
    bool snapshot;  /* being received */
    bool mentioned; /* the pod, in this snapshot */
};

void world_start(struct world *w);
void world_start_among(struct world *w, unsigned others);
void world_stop(struct world *w);
void world_agent_start(struct world *w);
void world_agent_kill(struct world *w);

void world_label(struct world *w, bool on);
void world_delete(struct world *w);
/* The API shows the pod anew, whatever the test has made of it. */
void world_show(struct world *w);

/* Lets time pass until the pod stands there; false after a minute of the loop's time. An agent that
 * dies on the way is started again. */
bool world_reach(struct world *w, enum enrolment_standing s);
/* Some of the way, wherever it leads. */
void world_pass(struct world *w, int steps);
enum enrolment_standing world_standing(struct world *w);
