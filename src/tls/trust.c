/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "base/mem.h"
#include "base/ref.h"
#include "tls/credential_int.h"
#include "tls/ossl_int.h"

struct trust {
    struct aref refs;
    X509_STORE *store;
    STACK_OF(X509_NAME) * subjects;
    uint8_t digest[DIGEST_BYTES];
    unsigned count;
    struct cert_facts *facts;
};

enum { CHAIN_DEPTH_MAX = 8 };

struct trust *trust_ref(struct trust *t)
{
    aref_get(&t->refs);
    return t;
}

struct trust *trust_unref(struct trust *t)
{
    if (!t || !aref_put(&t->refs)) {
        return NULL;
    }
    for (unsigned i = 0; i < t->count; i++) {
        cert_facts_fini(&t->facts[i]);
    }
    mem_free(t->facts);
    X509_STORE_free(t->store);
    sk_X509_NAME_pop_free(t->subjects, X509_NAME_free);
    mem_free(t);
    return NULL;
}

unsigned trust_count(const struct trust *t)
{
    return t->count;
}

const struct cert_facts *trust_facts(const struct trust *t, unsigned at)
{
    return &t->facts[at];
}

X509_STORE *trust_store(const struct trust *t)
{
    return t->store;
}

const uint8_t *trust_digest(const struct trust *t)
{
    return t->digest;
}

STACK_OF(X509_NAME) * trust_subjects(const struct trust *t)
{
    return t->subjects;
}

/* A given root is believed as it is, also when it is an intermediate of somebody else's. */
static bool set_rules(X509_STORE *store)
{
    return X509_STORE_set_flags(store, X509_V_FLAG_PARTIAL_CHAIN) == 1 &&
           X509_STORE_set_depth(store, CHAIN_DEPTH_MAX) == 1;
}

/* Of what came before it and the next root. */
static int add_to_digest(struct trust *t, X509 *x, struct diag *why)
{
    uint8_t both[2 * DIGEST_BYTES];

    memcpy(both, t->digest, DIGEST_BYTES);
    bool ok = X509_digest(x, EVP_sha256(), both + DIGEST_BYTES, NULL) == 1 &&
              EVP_Digest(both, sizeof(both), t->digest, NULL, EVP_sha256(), NULL) == 1;
    return ok ? 0 : ossl_fail(why, -ERR_CERTIFICATE, "read a root certificate");
}

static int add_root(struct trust *t, X509 *x, struct diag *why)
{
    X509_NAME *subject = X509_NAME_dup(X509_get_subject_name(x));

    if (!subject || sk_X509_NAME_push(t->subjects, subject) == 0) {
        X509_NAME_free(subject);
        return FAIL(why, -ENOMEM, "add a root certificate");
    }
    if (X509_STORE_add_cert(t->store, x) != 1) {
        return ossl_fail(why, -ERR_CERTIFICATE, "add a root certificate");
    }
    int r = cert_facts_of(&t->facts[t->count], x, why);
    t->count += r == 0;
    return r == 0 ? add_to_digest(t, x, why) : r;
}

int trust_new(struct trust **out, struct slice roots_pem, struct diag *why)
{
    AUTO(ossl_certs) STACK_OF(X509) *list = NULL;
    int r = pem_read_certs(&list, roots_pem, CERT_ROOTS_MAX, "root certificates", why);

    if (r < 0) {
        return r;
    }
    AUTO(trust) struct trust *t = mem_new(struct trust);
    aref_init(&t->refs);
    t->facts = mem_array((size_t)sk_X509_num(list), sizeof(*t->facts));
    t->store = X509_STORE_new();
    t->subjects = sk_X509_NAME_new_null();
    if (!t->store || !t->subjects || !set_rules(t->store)) {
        return FAIL(why, -ENOMEM, "make a trust store");
    }
    for (int i = 0; r == 0 && i < sk_X509_num(list); i++) {
        r = add_root(t, sk_X509_value(list, i), why);
    }
    if (r < 0) {
        return r;
    }
    *out = MOVE(t);
    return 0;
}
