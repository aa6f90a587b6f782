/* SPDX-License-Identifier: Apache-2.0 */
#include "tls/tls_ctx.h"

#include "base/mem.h"
#include "tls/chain_cache.h"
#include "tls/library.h"
#include "tls/ossl_int.h"
#include "tls/tls_ctx_int.h"

/* Contract 2.1, as corrected by recordings: a client's order of preference; a server takes the
 * client's order. */
static const char suites[] = "TLS_AES_256_GCM_SHA384:TLS_AES_128_GCM_SHA256";
static const char groups[] = "X25519:P-256:P-384";
static const char signatures[] =
    "ECDSA+SHA384:ECDSA+SHA256:ECDSA+SHA512:ed25519:RSA-PSS+SHA512:RSA-PSS+SHA384:RSA-PSS+SHA256:"
    "RSA+SHA512:RSA+SHA384:RSA+SHA256";

/* The library's macros want it writable and do not write. */
static char *text(const char *s)
{
    return (char *)(uintptr_t)s;
}

static void set_modes(SSL_CTX *c)
{
    (void)SSL_CTX_set_options(c, SSL_OP_NO_TICKET | SSL_OP_NO_COMPRESSION);
    (void)SSL_CTX_set_mode(c, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_NO_AUTO_CHAIN);
    (void)SSL_CTX_set_session_cache_mode(c, SSL_SESS_CACHE_OFF);
    handshake_hooks(c);
}

static SSL_CTX *make(const SSL_METHOD *method, const struct tls_options *o)
{
    SSL_CTX *c = SSL_CTX_new_ex(tls_library(), NULL, method);
    bool ok = c && SSL_CTX_set_min_proto_version(c, TLS1_3_VERSION) == 1 &&
              SSL_CTX_set_max_proto_version(c, TLS1_3_VERSION) == 1 &&
              SSL_CTX_set_ciphersuites(c, o->suites ? o->suites : suites) == 1 &&
              SSL_CTX_set1_groups_list(c, text(o->groups ? o->groups : groups)) == 1 &&
              SSL_CTX_set1_sigalgs_list(c, text(signatures)) == 1 &&
              SSL_CTX_set_num_tickets(c, 0) == 1;

    if (!ok) {
        SSL_CTX_free(c);
        return NULL;
    }
    set_modes(c);
    return c;
}

int tls_ctx_new(struct tls_ctx **out, const struct tls_options *options, struct diag *why)
{
    static const struct tls_options defaults = {0};
    const struct tls_options *o = options ? options : &defaults;
    AUTO(tls_ctx) struct tls_ctx *c = mem_new(struct tls_ctx);

    c->backend = o->backend;
    c->limits = o->limits;
    c->chains = chain_cache_new();
    c->client = make(TLS_client_method(), o);
    c->server = make(TLS_server_method(), o);
    if (!c->client || !c->server) {
        return ossl_fail(why, -ERR_TLS, "set up TLS");
    }
    *out = MOVE(c);
    return 0;
}

void tls_ctx_free(struct tls_ctx *c)
{
    if (c) {
        SSL_CTX_free(c->client);
        SSL_CTX_free(c->server);
        chain_cache_free(c->chains);
        mem_free(c);
    }
}

const struct record_limits *tls_ctx_limits(const struct tls_ctx *c)
{
    return &c->limits;
}

enum aead_backend tls_ctx_backend(const struct tls_ctx *c)
{
    return c->backend;
}
