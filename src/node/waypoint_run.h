/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a node runs a replica of a waypoint: what local workload (local_spec.h) the pod object of one
 * becomes, and which uid it runs as. Pure.
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/ip.h"

struct json;
struct pod;

struct waypoint_setup {    /* texts outlive what uses it; NULL: left to the program's own default */
    const char *program;   /* a path */
    const char *discovery; /* "https://HOST:PORT" of the control plane, as pods reach it; NULL: this
                              node runs no waypoints */
    const char *root_cert; /* a file that everybody may read */
    const char *trust_domain;
    const char *cluster_id;
    const char *network;
    const char *node;
};

/* Two waypoints never share a uid, and no account of the host has one of these, so neither reads the
 * other's memory or token. */
enum { WAYPOINT_UID_FIRST = 1879100000 };

/* ips are those that the pod will have; token is the path of its token. The caller's. */
struct json *waypoint_spec(const struct waypoint_setup *s, const struct pod *p, unsigned slot,
                           const struct ip *ip, const char *token);
/* The slot out of what waypoint_spec wrote as user; false: it is none of ours. */
bool waypoint_slot(const char *user, unsigned *out);
