/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Finding addresses by what they hold, for clients that ask for some of them only (contract 5.4): by
 * "network/ip", by node, by service. Follows a catalog by its order of change; costs nothing until
 * the first such client comes. One loop.
 */
#pragma once

#include "xds/catalog.h"

enum lookup_kind {
    LOOKUP_WORKLOAD_IP = 'w', /* "network/ip" of a workload */
    LOOKUP_SERVICE_IP = 's',  /* "network/ip" or "network/ip/len" of a service */
    LOOKUP_NODE = 'n',        /* the node of a workload */
    LOOKUP_MEMBER = 'm'       /* "ns/hostname" of a service that a workload belongs to */
};

struct lookup_table;

struct lookup_table *lookup_table_new(const struct catalog *c); /* borrowed; outlives it */
void lookup_table_free(struct lookup_table *l);
AUTO_DEFINE(lookup_table, struct lookup_table *, lookup_table_free);
/* Takes in what changed; before every question, and before the catalog is pruned. */
void lookup_follow(struct lookup_table *l);

/* The names of the resources with that key: a zeroed cursor starts, NULL ends. */
struct lookup_cursor {
    struct map_node *at;
};
const char *lookup_next(const struct lookup_table *l, enum lookup_kind kind, struct slice key,
                        struct lookup_cursor *c);

/* What a resource is found by, straight from its wire form; further calls of one kind or another. */
typedef void lookup_visit(void *arg, enum lookup_kind kind, struct slice key);
void lookup_keys(struct slice address, lookup_visit *visit, void *arg);
