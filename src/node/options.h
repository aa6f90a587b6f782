/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What ambit-agent is told at its start: flags, or the same names as keys of a JSON or YAML file
 * (--config FILE; flags win). A list is given by repeating the flag, or as a list in the file.
 */
#pragma once

#include <stdbool.h>

#include "base/err.h"
#include "base/ip.h"
#include "base/str.h"

enum { OPTIONS_CIDRS_MAX = 4, OPTIONS_NAMES_MAX = 32 };

struct options {
    char *node;
    char *kubeconfig; /* NULL: the service account of the pod the agent runs in */
    char *run_dir;
    char *zds_path;
    char *mesh_namespace;
    char *log_level;
    char *proxy_token; /* file for the node proxy's token; NULL: somebody else sees to it */
    char *readiness;   /* address:port; NULL: none */
    char *stats;
    char *discovery; /* NULL: no waypoints are run here */
    char *root_cert; /* what follows is for waypoints, too; NULL: left to their own defaults */
    char *waypoint_program;
    char *trust_domain;
    char *cluster_id;
    char *network;
    char *excluded[OPTIONS_NAMES_MAX + 1]; /* NULL at the end */
    unsigned excluded_count;
    struct ip_prefix cidrs[OPTIONS_CIDRS_MAX];
    unsigned cidr_count; /* 0: no local workloads */
    bool log_json;
    bool dns;
    bool probes;
};

void options_fini(struct options *o);

/* argv without the program's name. Reads the file that --config names (blocking: program start). On
 * failure why says which flag or key is meant. */
MUST_USE int options_read_blocking(int argc, char **argv, struct options *out, struct diag *why);
/* One line a flag. */
void options_help(struct strbuf *out);
