/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From what nodes and the API have said to findings: the judgement of `ambit status`, without asking
 * anybody. Pure.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "cli/finding.h"

struct json;

/* What was heard of one node; NULL where nobody answered. */
struct node_facts {
    const char *name;
    const struct json *dump;  /* /config_dump */
    const struct json *open;  /* /access/open */
    const struct json *agent; /* the agent's status */
    const struct json *local; /* the agent's workloads */
    const struct json *kept;  /* rows of connections older than the mesh */
    const char *ready;        /* what readiness says */
    bool is_ready;
    const char *proxy_error; /* why the proxy did not answer; NULL = it did */
    const char *agent_error; /* likewise; also NULL when there is no agent's socket */
    bool agent_is_roots;     /* because it answers root alone */
};

struct status_counts {
    unsigned nodes;
    unsigned nodes_answering;
    unsigned workloads; /* captured */
    unsigned pending;
    unsigned mtls;
    unsigned plain;
};

/* A protected connection between two of these nodes is counted once, where it was opened; what runs
 * in plaintext is counted wherever it is seen. */
void status_of_nodes(const struct node_facts *nodes, unsigned count, int64_t now_s,
                     struct findings *f, struct status_counts *counts);
/* Objects of the API of that kind ("authorizationpolicy") with conditions that are not good. */
void status_of_policies(const struct json *items, const char *kind, struct findings *f);
/* Routes of that kind ("httproute"), whose conditions are those of their parents. */
void status_of_routes(const struct json *items, const char *kind, struct findings *f);
/* Rows of waypoints (waypoint_object.h), and namespaces and services that name one. */
void status_of_waypoints(const struct json *rows, const struct json *users, struct findings *f);
/* "3 workloads on 2 nodes are in the mesh; 14 connections, all mutual TLS". */
void status_sentence(const struct status_counts *c, struct strbuf *out);
struct json *status_counts_to_json(const struct status_counts *c);
