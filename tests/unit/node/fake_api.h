/* SPDX-License-Identifier: Apache-2.0 */
/* A pod source in memory: what is created and written comes back as events. Any request can fail. */
#pragma once

#include "base/list.h"
#include "node/pod_source.h"

struct fake_api {
    struct pod_source source;
    struct task *reader;
    struct list pods;
    struct list events;
    unsigned uids;
    int requests;
    int fail_at;     /* -1: none */
    bool is_away;    /* all fail */
    char mode[16];   /* of every namespace */
    unsigned tokens; /* made so far */
    unsigned token_life_s;
};

void fake_api_start(struct fake_api *a);
void fake_api_stop(struct fake_api *a);
/* Tells a new agent everything that exists. */
void fake_api_replay(struct fake_api *a);
/* Somebody else makes a pod that a node is to run as a waypoint; asks for its deletion. */
void fake_api_ask_waypoint(struct fake_api *a, const char *name);
void fake_api_unask(struct fake_api *a, const char *name);
/* Somebody else deletes a pod, at once. */
void fake_api_delete(struct fake_api *a, const char *name);
/* Its Ready condition. */
bool fake_api_is_ready(const struct fake_api *a, const char *name);
/* Why it is not ready; "". */
const char *fake_api_trouble(const struct fake_api *a, const char *name);
/* The pod's phase; -1 if there is no such pod. */
int fake_api_phase(const struct fake_api *a, const char *name);
