/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Handshakes for tests, without a network: two of ours back to back, or one of ours and a foreign end
 * by OpenSSL. One mesh (root, server, client) serves all of them, made once, because keys cost time.
 */
#pragma once

#include <openssl/ssl.h>

#include "pki.h"
#include "tls/handshake.h"

#define DUEL_SERVER "spiffe://cluster.local/ns/shop/sa/server"
#define DUEL_CLIENT "spiffe://cluster.local/ns/shop/sa/client"

struct mesh {
    struct tls_ctx *ctx;
    struct pki_cert root;
    struct credential *server;
    struct credential *client;
};

struct mesh *the_mesh(void);

/* The ends of a mesh handshake; they borrow from the mesh. */
struct handshake_spec duel_client(void);
struct handshake_spec duel_server(void);

struct side {
    struct handshake *h;
    enum handshake_state state;
    struct diag why;
    struct tls_peer peer;
    struct record *record;
};

struct duel {
    struct side client;
    struct side server;
    int late_alert; /* what the client's record layer says about the server's last words */
    struct diag late_why;
};

/* cut: bytes given to the server at a time, 0 for all. */
int duel_run(struct duel *d, const struct handshake_spec *client,
             const struct handshake_spec *server, size_t cut);
void duel_stop(struct duel *d);
bool duel_done(const struct duel *d);
/* What one side seals the other opens, both ways. */
bool duel_flows(const struct duel *d);

/* A foreign end of a handshake, by OpenSSL, that presents any certificate and believes anyone. */
struct foreign {
    SSL_CTX *ctx;
    SSL *ssl;
    BIO *in;
    BIO *out;
    int result;
};

/* leaf: NULL for none. */
void foreign_start(struct foreign *f, const struct pki_cert *leaf, bool client);
void foreign_stop(struct foreign *f);
/* Runs both ends until nothing moves; afterwards the foreign end has read everything. */
enum handshake_state foreign_meet(struct foreign *f, struct handshake *h, struct diag *why);
/* The alert that the foreign end was sent, 0 when none. */
int foreign_alert(void);
