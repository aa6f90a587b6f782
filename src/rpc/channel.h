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

enum { CHANNEL_CONNECT_MS = 5000, CHANNEL_ATTEMPT_MS = 20000, CHANNEL_ADDRESSES_MAX = 8 };

struct channel_config { /* borrowed for channel_new, except loop objects */
    struct loop *loop;
    struct jobs *jobs; /* a pool in which name lookups may block */
    struct tls_loop *tls;
    const char *address;         /* "https://host:port" */
    const char *roots;           /* path, "SYSTEM" or PEM text */
    const char *alt_host;        /* NULL: none */
    const char *token;           /* path or literal; NULL: no authorization */
    const char *cluster_id;      /* sent with the token */
    const struct message *extra; /* more metadata; may be NULL */
};

struct channel;

/* -ERR_SYNTAX: the address is not https://host:port. */
MUST_USE int channel_new(struct channel **out, const struct channel_config *config,
                         struct diag *why);
void channel_free(struct channel *c);
AUTO_DEFINE(channel, struct channel *, channel_free);
struct grpc_dialer *channel_dialer(struct channel *c);
