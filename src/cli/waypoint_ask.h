/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the replicas of waypoints can be asked: those that the nodes of this machine run, each on the
 * loopback of its own network namespace, or one that the command names. Blocks until a deadline.
 */
#pragma once

#include "base/err.h"
#include "cli/args.h"
#include "cli/node_where.h"

struct cli;

enum { WAYPOINTS_MAX = 64 };

struct waypoint_place {
    char *node;
    char *ns;
    char *gateway;
    char *pod;
    struct node_where where; /* for node_page_blocking */
};

struct waypoint_places {
    struct waypoint_place at[WAYPOINTS_MAX];
    unsigned count;
    int trouble; /* < 0: a node's agent may not be asked by us, so that there may be others */
};

/* --waypoint-admin */
extern const struct arg_option options_waypoint[];

/* Those that run. ns and gateway: only this one's; NULL: all. Nodes whose agent does not answer have
 * none; what is wrong with the options is an error. */
MUST_USE int waypoints_find_blocking(struct cli *c, const char *ns, const char *gateway,
                                     struct waypoint_places *out, struct diag *why);
void waypoint_places_fini(struct waypoint_places *p);
