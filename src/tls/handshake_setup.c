/* SPDX-License-Identifier: Apache-2.0 */
/* From a specification to libssl's object, and the hooks through which libssl asks and tells. */
#include <string.h>

#include "base/ascii.h"
#include "base/ip.h"
#include "tls/credential_int.h"
#include "tls/handshake_int.h"
#include "tls/ossl_int.h"
#include "tls/tls_ctx_int.h"
#include "tls/verify.h"

/* --- hooks --- */

/* Returns the number of bytes, 0 when it is not hex or too long. */
static size_t hex_decode(const char *hex, uint8_t out[RECORD_SECRET_MAX])
{
    size_t n = strlen(hex) / 2;

    if (n > RECORD_SECRET_MAX) {
        return 0;
    }
    for (size_t i = 0; i < n; i++) {
        int high = ascii_hex_value(hex[2 * i]);
        int low = ascii_hex_value(hex[2 * i + 1]);
        if (high < 0 || low < 0) {
            return 0;
        }
        out[i] = (uint8_t)(high << 4 | low);
    }
    return n;
}

/* "LABEL <client random> <secret>": libssl's only way of handing traffic secrets out. */
static void on_keylog(const SSL *ssl, const char *line)
{
    struct handshake *h = SSL_get_app_data(ssl);
    struct slice text = slice_of(line);
    const char *secret = strrchr(line, ' ');

    if (!secret) {
        return;
    }
    if (slice_has_prefix(text, "CLIENT_TRAFFIC_SECRET_0 ")) {
        h->client_secret_len = hex_decode(secret + 1, h->client_secret);
    } else if (slice_has_prefix(text, "SERVER_TRAFFIC_SECRET_0 ")) {
        h->server_secret_len = hex_decode(secret + 1, h->server_secret);
    }
}

/* No ALPN from the client never comes here and is fine; a list without ours is not (contract 2.1). */
static int on_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_len,
                   const unsigned char *in, unsigned int in_len, void *arg UNUSED)
{
    const struct handshake *h = SSL_get_app_data(ssl);
    unsigned char *chosen = NULL;

    if (h->alpn_len == 0) {
        return SSL_TLSEXT_ERR_NOACK;
    }
    if (SSL_select_next_proto(&chosen, out_len, h->alpn, h->alpn_len, in, in_len) !=
        OPENSSL_NPN_NEGOTIATED) {
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    }
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

static int on_certificate(X509_STORE_CTX *store_ctx, void *arg UNUSED)
{
    const SSL *ssl = X509_STORE_CTX_get_ex_data(store_ctx, SSL_get_ex_data_X509_STORE_CTX_idx());
    struct handshake *h = SSL_get_app_data(ssl);
    struct verify_rules rules = {
        .role = h->role,
        .chains = h->ctx->chains,
        .trust = h->trust,
        .trust_domain = h->credential ? credential_trust_domain(h->credential) : NULL,
        .expect = h->expect,
        .expect_count = h->expect_count,
    };

    tls_peer_fini(&h->peer);
    h->verify_error = verify_peer(store_ctx, &rules, &h->peer, &h->verify_diag);
    return h->verify_error == 0;
}

void handshake_hooks(SSL_CTX *ctx)
{
    SSL_CTX_set_keylog_callback(ctx, on_keylog);
    SSL_CTX_set_alpn_select_cb(ctx, on_alpn, NULL);
    SSL_CTX_set_cert_verify_callback(ctx, on_certificate, NULL);
}

/* --- setup --- */

static int use_credential(SSL *ssl, const struct credential *c)
{
    bool ok = SSL_use_certificate(ssl, credential_leaf(c)) == 1 &&
              SSL_set1_chain(ssl, credential_intermediates(c)) == 1 &&
              SSL_use_PrivateKey(ssl, credential_key(c)) == 1;

    return ok ? 0 : -ERR_CERTIFICATE;
}

static int verify_mode(const struct handshake *h)
{
    switch (h->role) {
    case TLS_MESH_SERVER:
        return SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT;
    case TLS_HOST_SERVER:
        return h->trust ? SSL_VERIFY_PEER : SSL_VERIFY_NONE;
    case TLS_MESH_CLIENT:
    case TLS_HOST_CLIENT:
        break;
    }
    return SSL_VERIFY_PEER;
}

static int use_trust(SSL *ssl, const struct handshake *h)
{
    SSL_set_verify(ssl, verify_mode(h), NULL);
    if (!h->trust) {
        return 0;
    }
    if (SSL_set1_verify_cert_store(ssl, trust_store(h->trust)) != 1) {
        return -ERR_TLS;
    }
    if (!role_is_client(h->role)) {
        STACK_OF(X509_NAME) *names = SSL_dup_CA_list(trust_subjects(h->trust));
        if (!names) {
            return -ENOMEM;
        }
        SSL_set_client_CA_list(ssl, names);
    }
    return 0;
}

static int use_host(SSL *ssl, const struct handshake *h)
{
    X509_VERIFY_PARAM *param = SSL_get0_param(ssl);
    const char *sni = h->server_name ? h->server_name : h->host;
    struct ip ip;

    X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS |
                                               X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
    bool is_ip = ip_parse(&ip, h->host, strlen(h->host)) == 0;
    bool ok = is_ip ? X509_VERIFY_PARAM_set1_ip(param, ip.bytes, ip_size(&ip)) == 1
                    : X509_VERIFY_PARAM_set1_host(param, h->host, 0) == 1;
    if (ok && ip_parse(&ip, sni, strlen(sni)) < 0) {
        ok = SSL_set_tlsext_host_name(ssl, (char *)(uintptr_t)sni) == 1;
    }
    return ok ? 0 : -ERR_RANGE;
}

static int use_client(SSL *ssl, const struct handshake *h)
{
    /* 0 is this one call's success */
    if (h->alpn_len > 0 && SSL_set_alpn_protos(ssl, h->alpn, h->alpn_len) != 0) {
        return -ERR_TLS;
    }
    SSL_set_connect_state(ssl);
    return h->role == TLS_HOST_CLIENT ? use_host(ssl, h) : 0;
}

static int make_bios(struct handshake *h)
{
    h->in = BIO_new(BIO_s_mem());
    h->out = BIO_new(BIO_s_mem());
    if (!h->in || !h->out) {
        BIO_free(h->in);
        BIO_free(h->out);
        return -ENOMEM;
    }
    (void)BIO_set_mem_eof_return(h->in, -1); /* empty means later, not the end */
    SSL_set_bio(h->ssl, h->in, h->out);
    return 0;
}

int handshake_setup(struct handshake *h, struct diag *why)
{
    bool client = role_is_client(h->role);
    int r = -ENOMEM;

    h->ssl = SSL_new(client ? h->ctx->client : h->ctx->server);
    if (h->ssl) {
        SSL_set_app_data(h->ssl, h);
        r = make_bios(h);
    }
    if (r == 0 && h->credential) {
        r = use_credential(h->ssl, h->credential);
    }
    if (r == 0) {
        r = use_trust(h->ssl, h);
    }
    if (r == 0 && client) {
        r = use_client(h->ssl, h);
    } else if (r == 0) {
        SSL_set_accept_state(h->ssl);
    }
    return r < 0 ? ossl_fail(why, r, "set up a handshake") : 0;
}
