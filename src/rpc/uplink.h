/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connections to the control plane (contract 5.1, 6.1): the real grpc_dialer. Each attempt reads the
 * root certificates and the token anew, looks the host up, connects, and verifies the server against
 * the address' host name, or the alternative name where one is configured. No client certificate.
 */
#pragma once

#include "io/jobs.h"
#include "rpc/grpc_dialer.h"
#include "tls/tls_stream.h"

enum { UPLINK_CONNECT_MS = 5000, UPLINK_ATTEMPT_MS = 20000, UPLINK_ADDRESSES_MAX = 8 };

struct uplink_config { /* borrowed for uplink_new, except loop objects */
    struct loop *loop;
    struct jobs *jobs; /* a pool in which name lookups may block */
    struct tls_loop *tls;
    const char *address;    /* "https://host:port" */
    const char *roots;      /* path, "SYSTEM" or PEM text */
    const char *alt_host;   /* NULL: none */
    const char *token;      /* path, literal otherwise; with / or ./ always a path. NULL: none */
    const char *cluster_id; /* sent with the token */
    const struct message *extra; /* more metadata; may be NULL */
};

struct uplink;

/* -ERR_SYNTAX: the address is not https://host:port. */
MUST_USE int uplink_new(struct uplink **out, const struct uplink_config *config, struct diag *why);
void uplink_free(struct uplink *c);
AUTO_DEFINE(uplink, struct uplink *, uplink_free);
struct grpc_dialer *uplink_dialer(struct uplink *c);
