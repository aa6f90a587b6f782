/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Our own certificate as a server, issued by our own authority and issued anew long before it ends.
 * One for each loop that listens: new connections of that loop read the newest.
 */
#pragma once

#include "ca/authority.h"
#include "io/loop.h"
#include "tls/handshake.h"

enum { SERVER_CERT_RENEW_MS = 12 * 3600 * 1000, SERVER_CERT_NAMES_MAX = 48 };

struct server_cert;
struct settings;

/* Its names are the usual ones, where we listen or say that we do, and what the settings add.
 * authority is borrowed and outlives it. */
MUST_USE int server_cert_new(struct server_cert **out, struct loop *l,
                             const struct authority *authority, const struct settings *settings,
                             struct diag *why);
void server_cert_free(struct server_cert *c);
AUTO_DEFINE(server_cert, struct server_cert *, server_cert_free);
/* For the options of servers: stays where it is, changes what it points to. */
struct handshake_spec *server_cert_spec(struct server_cert *c);
