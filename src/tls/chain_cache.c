/* SPDX-License-Identifier: Apache-2.0 */
#include "tls/chain_cache.h"

#include <limits.h>
#include <pthread.h>
#include <string.h>

#include "base/mem.h"
#include "base/num.h"
#include "tls/credential_int.h"
#include "tls/library.h"
#include "tls/ossl_int.h"

struct entry {
    uint8_t digest[DIGEST_BYTES];
    uint64_t used;            /* the look-up that used it last; 0: empty */
    int64_t from_s, before_s; /* when every certificate of the chain is valid */
};

struct row {
    struct entry at[CHAIN_CACHE_WAYS];
};

struct chain_cache {
    EVP_MD *sha256;
    pthread_mutex_t lock; /* of what follows; held for a row's comparisons only */
    struct row *rows;     /* NULL until the first good chain */
    uint64_t lookups;
};

struct chain_cache *chain_cache_new(void)
{
    struct chain_cache *c = mem_new(struct chain_cache);

    c->sha256 = EVP_MD_fetch(tls_library(), "SHA256", NULL);
    (void)pthread_mutex_init(&c->lock, NULL); /* cannot fail with default attributes */
    return c;
}

void chain_cache_free(struct chain_cache *c)
{
    if (c) {
        EVP_MD_free(c->sha256);
        (void)pthread_mutex_destroy(&c->lock);
        mem_free(c->rows);
        mem_free(c);
    }
}

/* --- what a chain is known by --- */

/* With its length in front, so that no two lists of certificates are the same bytes. */
static bool add_certificate(EVP_MD_CTX *m, X509 *x)
{
    unsigned char *der = NULL;
    int len = i2d_X509(x, &der);
    bool ok = len > 0 && EVP_DigestUpdate(m, &len, sizeof(len)) == 1 &&
              EVP_DigestUpdate(m, der, (size_t)len) == 1;

    OPENSSL_free(der);
    return ok;
}

static bool add_certificates(EVP_MD_CTX *m, const X509_STORE_CTX *ctx)
{
    STACK_OF(X509) *sent = X509_STORE_CTX_get0_untrusted(ctx);
    bool ok = add_certificate(m, X509_STORE_CTX_get0_cert(ctx));

    for (int i = 0; ok && i < sk_X509_num(sent); i++) {
        ok = add_certificate(m, sk_X509_value(sent, i));
    }
    return ok;
}

static bool digest_of(const struct chain_cache *c, const X509_STORE_CTX *ctx,
                      const struct chain_check *check, uint8_t digest[DIGEST_BYTES])
{
    EVP_MD_CTX *m = EVP_MD_CTX_new();
    const uint8_t role = check->of_client;
    bool ok = c->sha256 && m && EVP_DigestInit_ex2(m, c->sha256, NULL) == 1 &&
              EVP_DigestUpdate(m, trust_digest(check->trust), DIGEST_BYTES) == 1 &&
              EVP_DigestUpdate(m, &role, sizeof(role)) == 1 && add_certificates(m, ctx) &&
              EVP_DigestFinal_ex(m, digest, NULL) == 1;

    EVP_MD_CTX_free(m);
    return ok;
}

/* --- the table, under its lock --- */

/* Nobody chooses where a chain goes: its digest has its issuer's signatures in it, and nothing else
 * (is_all_used). */
static struct row *row_of(const struct chain_cache *c, const uint8_t *digest)
{
    uint32_t n;

    memcpy(&n, digest, sizeof(n));
    return &c->rows[n % CHAIN_CACHE_ROWS];
}

static struct entry *find(const struct chain_cache *c, const uint8_t *digest)
{
    struct row *row = c->rows ? row_of(c, digest) : NULL;

    for (size_t i = 0; row && i < CHAIN_CACHE_WAYS; i++) {
        struct entry *e = &row->at[i];
        if (e->used > 0 && memcmp(e->digest, digest, DIGEST_BYTES) == 0) {
            return e;
        }
    }
    return NULL;
}

/* Its own place, an empty one or that of what was not used for longest. */
static struct entry *place_for(const struct chain_cache *c, const uint8_t *digest)
{
    struct entry *e = find(c, digest);
    struct row *row = row_of(c, digest);

    for (size_t i = 0; !e && i < CHAIN_CACHE_WAYS; i++) {
        e = row->at[i].used == 0 ? &row->at[i] : NULL;
    }
    if (e) {
        return e;
    }
    e = &row->at[0];
    for (size_t i = 1; i < CHAIN_CACHE_WAYS; i++) {
        e = row->at[i].used < e->used ? &row->at[i] : e;
    }
    return e;
}

static bool knows(struct chain_cache *c, const uint8_t *digest, int64_t now_s)
{
    (void)pthread_mutex_lock(&c->lock);
    struct entry *e = find(c, digest);
    bool known = e && e->from_s <= now_s && now_s < e->before_s;
    c->lookups++;
    if (known) {
        e->used = c->lookups;
    }
    (void)pthread_mutex_unlock(&c->lock);
    return known;
}

static void put(struct chain_cache *c, const struct entry *fresh)
{
    (void)pthread_mutex_lock(&c->lock);
    if (!c->rows) {
        c->rows = mem_array(CHAIN_CACHE_ROWS, sizeof(*c->rows));
    }
    struct entry *e = place_for(c, fresh->digest);
    *e = *fresh;
    e->used = c->lookups;
    (void)pthread_mutex_unlock(&c->lock);
}

/* --- */

/* The time that the whole chain is valid, its root's included. */
static bool set_times(struct entry *e, const X509_STORE_CTX *ctx)
{
    STACK_OF(X509) *chain = X509_STORE_CTX_get0_chain(ctx);
    bool ok = sk_X509_num(chain) > 0;

    e->from_s = INT64_MIN;
    e->before_s = INT64_MAX;
    for (int i = 0; ok && i < sk_X509_num(chain); i++) {
        int64_t from_s = 0;
        int64_t before_s = 0;
        ok = cert_times(sk_X509_value(chain, i), &from_s, &before_s) == 0;
        e->from_s = MAX_OF(e->from_s, from_s);
        e->before_s = MIN_OF(e->before_s, before_s);
    }
    return ok;
}

static bool has_certificate(STACK_OF(X509) * chain, const X509 *x)
{
    bool found = false;

    for (int i = 0; !found && i < sk_X509_num(chain); i++) {
        found = X509_cmp(sk_X509_value(chain, i), x) == 0;
    }
    return found;
}

/* Whether what was sent is all in the chain. Anybody can send more, another time something else, and
 * each would be a chain of its own. */
static bool is_all_used(const X509_STORE_CTX *ctx)
{
    STACK_OF(X509) *chain = X509_STORE_CTX_get0_chain(ctx);
    STACK_OF(X509) *sent = X509_STORE_CTX_get0_untrusted(ctx);
    bool all = sk_X509_num(sent) <= sk_X509_num(chain);

    for (int i = 0; all && i < sk_X509_num(sent); i++) {
        all = has_certificate(chain, sk_X509_value(sent, i));
    }
    return all;
}

bool chain_cache_verify(struct chain_cache *c, X509_STORE_CTX *ctx, struct chain_check *check)
{
    struct entry fresh = {.used = 0};
    bool keyed = digest_of(c, ctx, check, fresh.digest);

    check->was_known = keyed && knows(c, fresh.digest, check->now_s);
    if (check->was_known) {
        X509_STORE_CTX_set_error(ctx, X509_V_OK);
        return true;
    }
    X509_STORE_CTX_set_time(ctx, 0, check->now_s);
    bool ok = X509_verify_cert(ctx) == 1;
    if (ok && keyed && is_all_used(ctx) && set_times(&fresh, ctx)) {
        put(c, &fresh);
    }
    return ok;
}
