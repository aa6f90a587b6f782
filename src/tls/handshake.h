/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One TLS 1.3 handshake, without I/O (contract 2.1.2, 2.1.3): bytes of the peer in, bytes for the
 * peer out, in steps that burn CPU and may block in the signer, so they run in a job. One thread at a
 * time, but any thread. At the end the record layer, the peer and the bytes left over are taken.
 *
 * Who is believed: the chain must end in the roots of our own credential (or in the given trust),
 * within its dates and with the right EKU if it has one. On the mesh the peer's leaf has exactly one
 * SPIFFE name: a server wants its own trust domain in it, a client one of the expected names.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"
#include "tls/credential.h"
#include "tls/record.h"
#include "tls/tls_ctx.h"

enum tls_role {
    TLS_MESH_CLIENT, /* expects names, presents its credential, sends no SNI */
    TLS_MESH_SERVER, /* demands a client certificate of its own trust domain */
    TLS_HOST_CLIENT, /* verifies a host name; its own credential is optional */
    TLS_HOST_SERVER, /* client certificates are optional and only looked at when trust is given */
};

enum { HANDSHAKE_INPUT_MAX = 256 * 1024, HANDSHAKE_EXPECT_MAX = 64, HANDSHAKE_ALPN_MAX = 4 };

struct handshake_spec { /* borrowed for the call; what is needed longer is referenced or copied */
    enum tls_role role;
    struct credential *credential; /* NULL only for TLS_HOST_CLIENT */
    struct trust *trust;           /* host roles; a mesh role uses its credential's */
    const char *const *expect;     /* TLS_MESH_CLIENT: SPIFFE names, at least one */
    unsigned expect_count;
    const char *host;        /* TLS_HOST_CLIENT: DNS name or IP address that is verified ... */
    const char *server_name; /* ... and SNI when it differs; NULL: host, if that is no address */
    const char *const *alpn; /* in order of preference; none: no ALPN at all */
    unsigned alpn_count;
};

struct tls_peer {
    char
        *identity; /* SPIFFE name; NULL when there is no certificate or no such name (host roles) */
    char *subject; /* for logs: the certificate's subject, NULL without certificate */
    char *serial_hex;
    int64_t not_after_s;
    const char *suite;    /* static text */
    char alpn[16];        /* "" when none was negotiated */
    bool chain_was_known; /* its certificates had been verified in an earlier handshake */
};

void tls_peer_fini(struct tls_peer *p);

struct handshake;

MUST_USE int handshake_new(struct handshake **out, struct tls_ctx *ctx,
                           const struct handshake_spec *spec, struct diag *why);
void handshake_free(struct handshake *h);
AUTO_DEFINE(handshake, struct handshake *, handshake_free);

enum handshake_state { HANDSHAKE_WANTS_INPUT, HANDSHAKE_DONE, HANDSHAKE_FAILED };

/* Takes in len bytes (0 at a client's first step). The output must be sent in every state: after a
 * failure it holds the alert. why says what was expected and what came. */
enum handshake_state handshake_step_blocking(struct handshake *h, const void *in, size_t len,
                                             struct diag *why);
int handshake_error(const struct handshake *h); /* the negative code after HANDSHAKE_FAILED */
/* What has to be sent; borrowed until the next step. */
struct slice handshake_output(const struct handshake *h);

/* After HANDSHAKE_DONE, once each. The left-over bytes follow the peer's last handshake record and
 * belong to the record layer; borrowed until handshake_free. */
MUST_USE int handshake_take_record(struct handshake *h, struct record **out, struct diag *why);
void handshake_take_peer(struct handshake *h, struct tls_peer *out);
struct slice handshake_leftover(const struct handshake *h);
