/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the environment says to either proxy: its control plane, the log, its threads, in Istio's
 * variables (contract 1.5). Embedded in the proxy's own configuration; read once at start, immutable
 * afterwards and read by every thread. An unusable value is an error that names its variable.
 */
#pragma once

#include "codec/json.h"
#include "http/message.h"

enum { PORT_ADMIN = 15000, PORT_HBONE = 15008, PORT_STATS = 15020, PORT_READINESS = 15021 };

struct proxy_settings {
    char *xds_address; /* "https://host:port"; "" = no control plane */
    char *ca_address;
    char *xds_root_ca; /* path, "SYSTEM" or PEM */
    char *ca_root_ca;
    char *alt_xds_host; /* NULL: none; likewise below */
    char *alt_ca_host;
    char *auth_token; /* path or text */
    char *cluster_id;
    char *trust_domain;
    char *istio_version;
    char *log_level;
    bool log_json;
    bool ipv6;
    uint64_t secret_ttl_ms;
    struct message xds_headers; /* of every call */
    struct message ca_headers;
    struct json *metadata; /* of the node (contract 5.3); the proxy adds its own */
    unsigned workers;      /* loops of the data path; the proxy's to decide */
};

/* Into a zeroed struct. level_variable: which one holds the log level. env is the process' environment.
 * After a failure proxy_settings_fini is due all the same. */
MUST_USE int proxy_settings_read(struct proxy_settings *out, const char *level_variable,
                                 char *const *env, struct diag *why);
/* ISTIO_META_* and ISTIO_METAJSON_* into the metadata, over what is there. */
void proxy_settings_add_metadata(struct proxy_settings *s, char *const *env);
void proxy_settings_fini(struct proxy_settings *s);
