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
    int fail_at;   /* -1: none */
    bool is_away;  /* all fail */
    char mode[16]; /* of every namespace */
};

void fake_api_start(struct fake_api *a);
void fake_api_stop(struct fake_api *a);
/* Tells a new agent everything that exists. */
void fake_api_replay(struct fake_api *a);
/* The pod's phase; -1 if there is no such pod. */
int fake_api_phase(const struct fake_api *a, const char *name);
