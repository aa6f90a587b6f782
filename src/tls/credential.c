/* SPDX-License-Identifier: Apache-2.0 */
#include "tls/credential.h"

#include <string.h>

#include "base/mem.h"
#include "base/rand.h"
#include "model/identity.h"
#include "tls/credential_int.h"
#include "tls/library.h"
#include "tls/ossl_int.h"

struct credential {
    struct aref refs;
    X509 *leaf;
    STACK_OF(X509) * intermediates;
    EVP_PKEY *key; /* public half; signs by signer */
    struct signer *signer;
    struct trust *trust;
    char *trust_domain; /* NULL when the leaf has no SPIFFE name */
    unsigned count;
    struct cert_facts *facts; /* leaf first */
};

struct credential *credential_ref(struct credential *c)
{
    aref_get(&c->refs);
    return c;
}

struct credential *credential_unref(struct credential *c)
{
    if (!c || !aref_put(&c->refs)) {
        return NULL;
    }
    for (unsigned i = 0; i < c->count; i++) {
        cert_facts_fini(&c->facts[i]);
    }
    mem_free(c->facts);
    mem_free(c->trust_domain);
    X509_free(c->leaf);
    sk_X509_pop_free(c->intermediates, X509_free);
    EVP_PKEY_free(c->key);
    c->signer = signer_unref(c->signer);
    c->trust = trust_unref(c->trust);
    mem_free(c);
    return NULL;
}

const char *credential_identity(const struct credential *c)
{
    return c->facts[0].identity;
}

unsigned credential_chain_count(const struct credential *c)
{
    return c->count;
}

const struct cert_facts *credential_chain_facts(const struct credential *c, unsigned at)
{
    return &c->facts[at];
}

struct trust *credential_trust(const struct credential *c)
{
    return c->trust;
}

X509 *credential_leaf(const struct credential *c)
{
    return c->leaf;
}

STACK_OF(X509) * credential_intermediates(const struct credential *c)
{
    return c->intermediates;
}

EVP_PKEY *credential_key(const struct credential *c)
{
    return c->key;
}

const char *credential_trust_domain(const struct credential *c)
{
    return c->trust_domain;
}

static int read_chain(struct credential *c, struct slice pem, struct diag *why)
{
    int r = pem_read_certs(&c->intermediates, pem, CERT_CHAIN_MAX, "a certificate chain", why);

    if (r < 0) {
        return r;
    }
    unsigned count = (unsigned)sk_X509_num(c->intermediates);
    c->facts = mem_array(count, sizeof(*c->facts));
    for (; r == 0 && c->count < count; c->count += r == 0) {
        X509 *x = sk_X509_value(c->intermediates, (int)c->count);
        r = cert_facts_of(&c->facts[c->count], x, why);
    }
    c->leaf = sk_X509_shift(c->intermediates);
    return r;
}

/* More than one name would leave it to the peer which of them counts. */
static int read_identity(struct credential *c, struct diag *why)
{
    const struct cert_facts *leaf = &c->facts[0];
    AUTO(identity) const struct identity *id = NULL;

    if (leaf->spiffe_count > 1) {
        return FAIL(why, -ERR_CERTIFICATE, "use a certificate with %u SPIFFE names",
                    leaf->spiffe_count);
    }
    if (leaf->identity && identity_parse(&id, leaf->identity, strlen(leaf->identity), why) == 0) {
        c->trust_domain = mem_strdup(id->trust_domain);
    }
    return 0;
}

/* A signature by one that the other accepts. */
static int check_match(const struct credential *c, struct diag *why)
{
    uint8_t digest[32];
    uint8_t signature[SIGNER_SIGNATURE_MAX];

    rand_bytes(digest, sizeof(digest));
    ssize_t n = signer_sign_blocking(c->signer, digest, sizeof(digest), signature);
    AUTO(ossl_key_ctx)
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(tls_library(), X509_get0_pubkey(c->leaf), NULL);
    bool ok = n > 0 && ctx && EVP_PKEY_verify_init(ctx) == 1 &&
              EVP_PKEY_verify(ctx, signature, (size_t)n, digest, sizeof(digest)) == 1;
    return ok ? 0 : ossl_fail(why, -ERR_CERTIFICATE, "key and certificate do not match");
}

/* A signer of the caller's own may block, so it is not tried out here. */
static int set_signer(struct credential *c, const struct credential_source *source,
                      struct diag *why)
{
    int r = 0;

    if (source->signer) {
        c->signer = signer_ref(source->signer);
    } else {
        r = signer_local_new(&c->signer, source->key_pem, why);
        r = r == 0 ? check_match(c, why) : r;
    }
    return r < 0 ? r : signer_key_new(&c->key, X509_get0_pubkey(c->leaf), c->signer, why);
}

int credential_new(struct credential **out, const struct credential_source *source,
                   struct diag *why)
{
    AUTO(credential) struct credential *c = mem_new(struct credential);

    aref_init(&c->refs);
    int r = read_chain(c, source->chain_pem, why);
    if (r == 0) {
        r = read_identity(c, why);
    }
    if (r == 0) {
        r = set_signer(c, source, why);
    }
    if (r == 0) {
        r = trust_new(&c->trust, source->roots_pem, why);
    }
    if (r < 0) {
        return r;
    }
    *out = MOVE(c);
    return 0;
}
