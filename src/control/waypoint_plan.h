/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is to be done so that a waypoint has its replicas: pods to make, and where, and pods to end.
 * Called again after each change it asked for has been seen, it leads there step by step: a replica
 * of an older template ends only when a newer one is ready in its place, so that rolling loses
 * nothing. Spreads over the nodes. Pure.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum { PLAN_STEPS_MAX = 16, PLAN_REPLICAS_MAX = 64 };

struct plan_pod {
    const char *name;
    const char *node;
    bool is_own;     /* of the waypoint that is planned; others count for the nodes' load */
    bool is_current; /* made from the present template */
    bool is_ready;
    bool is_ending; /* its deletion was asked for */
    bool is_over;   /* it failed, or its node is gone: nobody will end it */
};

struct plan_node {
    const char *name;
};

enum plan_kind {
    PLAN_MAKE, /* a pod on `node` */
    PLAN_END,  /* `pod`, with time to drain */
    PLAN_DROP  /* `pod` at once: nobody runs it */
};

struct plan_step {
    enum plan_kind kind;
    const char *node; /* borrowed, like pod */
    const char *pod;
};

struct plan_input {
    unsigned replicas; /* 0: all are ended */
    const struct plan_pod *pods;
    unsigned pod_count;
    const struct plan_node *nodes; /* those that can run one */
    unsigned node_count;
};

/* How many steps; they may be done in any order. 0: it has what it should have, or waits for
 * something to become ready or for a node. */
unsigned waypoint_plan(const struct plan_input *in, struct plan_step out[static PLAN_STEPS_MAX]);
