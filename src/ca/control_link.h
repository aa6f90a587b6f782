/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a proxy's control loop needs to speak with its control plane: job pools, TLS, a connection for
 * discovery and one for certificates, and the certificates themselves. Embedded; the loop's thread.
 */
#pragma once

#include "ca/cert_manager.h"
#include "rpc/uplink.h"

struct control_link_config { /* borrowed for the call */
    const char *xds_address; /* "": no discovery */
    const char *ca_address;
    const char *xds_roots;
    const char *ca_roots;
    const char *xds_alt_host; /* NULL: none; likewise below */
    const char *ca_alt_host;
    const char *token;
    const char *cluster_id;
    const struct message *xds_headers;
    const struct message *ca_headers;
    int64_t cert_ttl_s;
    bool impersonate; /* ask for the identities of others */
};

struct control_link {     /* zeroed is closed */
    struct jobs *jobs;    /* handshakes and certificates */
    struct jobs *lookups; /* may block for long */
    struct tls_ctx *tls;
    struct tls_loop *tls_loop;
    struct uplink *ca;
    struct uplink *xds; /* NULL: no discovery */
    struct cert_manager *certs;
};

/* After a failure control_link_close is due all the same. */
MUST_USE int control_link_open(struct control_link *k, struct loop *l,
                               const struct control_link_config *config, struct diag *why);
/* First the certificates, while what they came from still stands; then the rest, once everything that
 * used the link is gone. */
void control_link_end_certs(struct control_link *k);
void control_link_close(struct control_link *k, struct loop *l);
