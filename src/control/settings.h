/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What ambitd is told at its start: flags, or the same names as keys of a JSON or YAML file
 * (--config FILE; flags win). A list is given by repeating the flag, or as a list in the file.
 */
#pragma once

#include <stdbool.h>

#include "base/err.h"
#include "base/ip.h"
#include "base/str.h"

enum { SETTINGS_LIST_MAX = 32 };

struct text_list {
    char *at[SETTINGS_LIST_MAX + 1]; /* NULL at the end */
    unsigned count;
};

struct settings {
    char *data;
    char *kubeconfig; /* NULL: the service account of the pod, or ~/.kube/config */
    char *cluster_id;
    char *trust_domain;
    char *mesh_namespace;
    char *revision;
    char *waypoint_image;     /* with a cluster: of the Deployments of waypoints */
    char *waypoint_discovery; /* with a cluster: "https://host:port", as their pods reach us */
    char *listen;             /* discovery and certificates */
    char *pod_listen;         /* the same, for waypoints of this host; "": none */
    char *api_listen;         /* stand-alone */
    char *
        advertise; /* stand-alone: host[:port] under which nodes reach the API; NULL: as it listens */
    char *monitoring; /* "": none; likewise the next two */
    char *readiness;
    char *admin;
    char *log_level;
    struct text_list aliases;  /* of the trust domain */
    struct text_list names;    /* of our certificate, beside the usual ones */
    struct text_list accounts; /* "namespace/account" of node proxies */
    struct text_list nodes;    /* stand-alone: credentials are made for them at the start */
    struct text_list cidrs;    /* stand-alone: of services */
    bool standalone;
    bool log_json;
};

void settings_fini(struct settings *s);

/* argv without the program's name. Reads the file that --config names (blocking: program start). On
 * failure why says which flag or key is meant. */
MUST_USE int settings_read_blocking(int argc, char **argv, struct settings *out, struct diag *why);
/* One line a flag. */
void settings_help(struct strbuf *out);
