/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Waypoints as objects of the API: the Gateway that asks for one (class istio-waypoint, one HBONE
 * listener on 15008), and what such a Gateway and its pods say for people. Pure.
 */
#pragma once

#include <stdbool.h>

struct json;
struct strbuf;

struct waypoint_wish {
    const char *ns;
    const char *name;
    const char *traffic;  /* "service", "workload", "all", "none"; NULL: left to the default */
    const char *revision; /* NULL: none */
    const char *replicas; /* NULL: left to the default */
};

/* What `apply` sends and `generate` prints; the caller's. */
struct json *waypoint_gateway(const struct waypoint_wish *w);
bool waypoint_is_one(const struct json *gateway);

/* namespace, name, revision, traffic, programmed ("True", "False", "Unknown"), type, reason and
 * message of the condition that says most (Programmed, else the last), replicas ("1/2": ready of
 * all), trouble (of one of them, where its node says it), addresses, verdict ("ready", "not ready"). pods: of its namespace at least. The caller's. */
struct json *waypoint_row(const struct json *gateway, const struct json *pods);
bool waypoint_row_is_ready(const struct json *row);
/* "2 waypoints, 1 not ready" */
void waypoint_verdict(const struct json *rows, struct strbuf *out);
/* Why the first that is not ready is not, and one command; nothing when all are. */
void waypoint_explain(const struct json *rows, struct strbuf *out);
