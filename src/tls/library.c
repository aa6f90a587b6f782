/* SPDX-License-Identifier: Apache-2.0 */
#include "tls/library.h"

#include <openssl/core_dispatch.h>
#include <openssl/provider.h>
#include <pthread.h>
#include <string.h>

#include "base/num.h"

enum { NAMES_MAX = 8 };

/* What TLS 1.3 with our settings and the certificates of both sides need. */
struct part {
    int operation;
    const char *names[NAMES_MAX];
    const char *only; /* of the properties: which of several of that name */
    OSSL_ALGORITHM list[NAMES_MAX + 1];
};
static struct part parts[] = {
    {OSSL_OP_DIGEST, {"SHA1", "SHA2-256", "SHA2-384", "SHA2-512"}, NULL, {{0}}},
    {OSSL_OP_CIPHER, {"AES-128-GCM", "AES-256-GCM"}, NULL, {{0}}},
    {OSSL_OP_MAC, {"HMAC"}, NULL, {{0}}},
    {OSSL_OP_KDF, {"HKDF", "TLS13-KDF"}, NULL, {{0}}},
    {OSSL_OP_KEYMGMT, {"EC", "X25519", "RSA", "RSA-PSS", "ED25519"}, NULL, {{0}}},
    {OSSL_OP_KEYEXCH, {"ECDH", "X25519"}, NULL, {{0}}},
    {OSSL_OP_SIGNATURE, {"ECDSA", "RSA", "ED25519"}, NULL, {{0}}},
    {OSSL_OP_DECODER,
     {"EC", "RSA", "RSA-PSS", "ED25519"},
     "input=der,structure=SubjectPublicKeyInfo",
     {{0}}},
};

/* Made once and constant afterwards, for the life of the process. */
static OSSL_LIB_CTX *library;
static OSSL_PROVIDER *whole; /* the default provider, in the whole library */
static pthread_once_t once = PTHREAD_ONCE_INIT;

/* An algorithm's names are "EC:id-ecPublicKey:1.2.840.10045.2.1". */
static bool is_wanted(const struct part *p, const OSSL_ALGORITHM *a)
{
    size_t len = strcspn(a->algorithm_names, ":");
    bool named = false;

    for (unsigned i = 0; i < NAMES_MAX && p->names[i] && !named; i++) {
        named = strlen(p->names[i]) == len && memcmp(a->algorithm_names, p->names[i], len) == 0;
    }
    return named && (!p->only || strstr(a->property_definition, p->only));
}

static void pick(struct part *p)
{
    int no_cache = 0;
    const OSSL_ALGORITHM *a = OSSL_PROVIDER_query_operation(whole, p->operation, &no_cache);
    unsigned n = 0;

    for (; a && a->algorithm_names && n < NAMES_MAX; a++) {
        if (is_wanted(p, a)) {
            p->list[n++] = *a;
        }
    }
}

static const OSSL_ALGORITHM *query(void *own UNUSED, int operation, int *no_cache)
{
    *no_cache = 0;
    for (unsigned i = 0; i < ARRAY_LEN(parts); i++) {
        if (parts[i].operation == operation) {
            return parts[i].list;
        }
    }
    return operation == OSSL_OP_RAND ? OSSL_PROVIDER_query_operation(whole, operation, no_cache)
                                     : NULL;
}

/* The groups of key exchange are listed this way; those without a key manager are left out. */
static int capabilities(void *own UNUSED, const char *name, OSSL_CALLBACK *told, void *arg)
{
    return OSSL_PROVIDER_get_capabilities(whole, name, told, arg);
}

static const OSSL_DISPATCH dispatch[] = {
    {OSSL_FUNC_PROVIDER_QUERY_OPERATION, (void (*)(void))query},
    {OSSL_FUNC_PROVIDER_GET_CAPABILITIES, (void (*)(void))capabilities},
    {0, NULL}};

/* Algorithms run with the default provider's own state, as it made them. */
static int start(const OSSL_CORE_HANDLE *handle UNUSED, const OSSL_DISPATCH *in UNUSED,
                 const OSSL_DISPATCH **out, void **own)
{
    *out = dispatch;
    *own = OSSL_PROVIDER_get0_provider_ctx(whole);
    return 1;
}

static void make(void)
{
    OSSL_LIB_CTX *c = OSSL_LIB_CTX_new();

    whole = OSSL_PROVIDER_load(NULL, "default");
    for (unsigned i = 0; whole && i < ARRAY_LEN(parts); i++) {
        pick(&parts[i]);
    }
    if (whole && c && OSSL_PROVIDER_add_builtin(c, "handshakes", start) == 1 &&
        OSSL_PROVIDER_load(c, "handshakes")) {
        library = c;
    } else {
        OSSL_LIB_CTX_free(c);
    }
}

OSSL_LIB_CTX *tls_library(void)
{
    (void)pthread_once(&once, make); /* fails only for a bad argument */
    return library;
}
