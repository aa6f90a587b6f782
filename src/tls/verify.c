/* SPDX-License-Identifier: Apache-2.0 */
#include "tls/verify.h"

#include <openssl/x509v3.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "model/identity.h"
#include "tls/chain_cache.h"
#include "tls/ossl_int.h"

static char *subject_text(X509 *x)
{
    AUTO(ossl_bio) BIO *b = BIO_new(BIO_s_mem());
    bool ok = b && X509_NAME_print_ex(b, X509_get_subject_name(x), 0, XN_FLAG_RFC2253) >= 0;
    char *text = ok ? pem_take_text(b) : NULL;

    return text ? text : mem_strdup("");
}

/* Unlisted by libssl among the errors it has an alert for, so the peer is told
 * certificate_unknown(46), as the recordings want for every problem with names. */
static int refuse_name(X509_STORE_CTX *ctx)
{
    X509_STORE_CTX_set_error(ctx, X509_V_ERR_PERMITTED_VIOLATION);
    return -ERR_IDENTITY;
}

static bool is_expected(const struct verify_rules *rules, const char *identity)
{
    for (unsigned i = 0; i < rules->expect_count; i++) {
        if (strcmp(rules->expect[i], identity) == 0) {
            return true;
        }
    }
    return false;
}

static int check_expected(X509_STORE_CTX *ctx, const struct verify_rules *rules,
                          const char *identity, struct diag *why)
{
    if (is_expected(rules, identity)) {
        return 0;
    }
    return FAIL(why, refuse_name(ctx), "peer is %s, expected %s%s", identity, rules->expect[0],
                rules->expect_count > 1 ? " or others" : "");
}

static int check_trust_domain(X509_STORE_CTX *ctx, const struct verify_rules *rules,
                              const char *identity, struct diag *why)
{
    AUTO(identity) const struct identity *id = NULL;

    if (identity_parse(&id, identity, strlen(identity), NULL) == 0 &&
        strcmp(id->trust_domain, rules->trust_domain) == 0) {
        return 0;
    }
    return FAIL(why, refuse_name(ctx), "peer is %s, expected trust domain %s", identity,
                rules->trust_domain);
}

static int check_names(X509_STORE_CTX *ctx, const struct verify_rules *rules,
                       const struct spiffe_names *names, struct diag *why)
{
    const char *expected = rules->role == TLS_MESH_CLIENT ? rules->expect[0] : rules->trust_domain;

    if (names->count > 1) {
        return FAIL(why, refuse_name(ctx), "peer has %u SPIFFE names (%s and others), expected one",
                    names->count, names->first ? names->first : "unparsable");
    }
    if (!names->first) {
        return FAIL(why, refuse_name(ctx), "peer has no SPIFFE name, expected %s", expected);
    }
    return rules->role == TLS_MESH_CLIENT ? check_expected(ctx, rules, names->first, why)
                                          : check_trust_domain(ctx, rules, names->first, why);
}

static bool is_mesh(const struct verify_rules *rules)
{
    return rules->role == TLS_MESH_CLIENT || rules->role == TLS_MESH_SERVER;
}

/* Names of hosts are part of what OpenSSL verifies, so only chains of the mesh are remembered. */
static bool is_good(X509_STORE_CTX *ctx, const struct verify_rules *rules, struct tls_peer *peer)
{
    struct chain_check check = {.trust = rules->trust,
                                .of_client = rules->role == TLS_MESH_SERVER,
                                .now_s = clock_wall_s()};

    if (!is_mesh(rules)) {
        return X509_verify_cert(ctx) == 1;
    }
    bool ok = chain_cache_verify(rules->chains, ctx, &check);
    peer->chain_was_known = check.was_known;
    return ok;
}

static int check_chain(X509_STORE_CTX *ctx, const struct verify_rules *rules, struct tls_peer *peer,
                       struct diag *why)
{
    if (is_good(ctx, rules, peer)) {
        return 0;
    }
    int e = X509_STORE_CTX_get_error(ctx);
    if (e == X509_V_OK) { /* nothing was wrong with the chain, but it could not be looked at */
        X509_STORE_CTX_set_error(ctx, X509_V_ERR_UNSPECIFIED);
    }
    return FAIL(why, -ERR_CERTIFICATE, "%s: certificate of %s", X509_verify_cert_error_string(e),
                peer->identity ? peer->identity : peer->subject);
}

static int describe(struct tls_peer *peer, X509 *leaf, struct spiffe_names *names, struct diag *why)
{
    int64_t from_s = 0;
    int r = cert_spiffe_names(names, leaf);

    peer->identity = names->first; /* freed with the peer */
    if (r == 0) {
        r = cert_times(leaf, &from_s, &peer->not_after_s);
    }
    if (r < 0) {
        return ossl_fail(why, r, "read the peer's certificate");
    }
    peer->subject = subject_text(leaf);
    peer->serial_hex = cert_serial_hex(leaf);
    return 0;
}

int verify_peer(X509_STORE_CTX *ctx, const struct verify_rules *rules, struct tls_peer *peer,
                struct diag *why)
{
    struct spiffe_names names = {0};

    int r = describe(peer, X509_STORE_CTX_get0_cert(ctx), &names, why);
    if (r < 0) {
        X509_STORE_CTX_set_error(ctx, X509_V_ERR_CERT_REJECTED);
        return r;
    }
    r = check_chain(ctx, rules, peer, why);
    return r == 0 && is_mesh(rules) ? check_names(ctx, rules, &names, why) : r;
}
