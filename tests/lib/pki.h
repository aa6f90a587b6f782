/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Certificates for tests, good and bad ones, made by OpenSSL directly so that they do not depend on
 * the code under test. Everything is PEM. A failure ends the test program.
 */
#pragma once

#include "tls/credential.h"
#include "tls/handshake.h"
#include "tls/tls_ctx.h"

enum pki_key { PKI_P256, PKI_P384, PKI_RSA, PKI_ED25519 };

struct pki_cert {
    char *cert;
    char *key;
};

struct pki_spec { /* zeroes: P-256, valid for an hour, both EKUs, no names */
    enum pki_key key;
    const char *subject; /* O= */
    const char *san;     /* as in OpenSSL's configuration: "URI:spiffe://...,DNS:a" */
    const char *eku;     /* "serverAuth"; "" for no extension */
    int from_s, to_s;    /* relative to now; both 0: -60 to 3600 */
    bool is_ca;
};

/* issuer NULL: self-signed. */
struct pki_cert pki_make(const struct pki_spec *spec, const struct pki_cert *issuer);
void pki_free(struct pki_cert *c);

/* Shorthands of one mesh: a root of cluster.local ... */
struct pki_cert pki_root(enum pki_key key);
/* ... and the credential of spiffe://cluster.local/ns/shop/sa/<account> under it. */
struct credential *pki_credential(const struct pki_cert *root, const char *account);
/* How "client" and "server" of one such mesh meet, the one expecting the other. Lent: all of it is made by
 * the first call and goes with the program. */
struct handshake_spec pki_handshake(bool client);
/* Any leaf's; it must have an EC key. */
struct credential *pki_credential_of(const struct pki_cert *leaf, const struct pki_cert *root);
