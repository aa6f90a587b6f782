/* SPDX-License-Identifier: Apache-2.0 */
#include "tls/token_cache.h"

#include <openssl/sha.h>
#include <string.h>

#include "base/mem.h"
#include "tls/ossl_int.h"

struct entry {
    uint8_t digest[SHA256_DIGEST_LENGTH];
    uint64_t keys;   /* serial of the set that verified it; 0: empty */
    uint64_t used;   /* the look-up that used it last */
    int64_t until_s; /* then it is not believed any more */
};

struct row {
    struct entry at[TOKEN_CACHE_WAYS];
};

struct token_cache {
    EVP_MD *sha256;
    struct row *rows; /* NULL until the first good token */
    uint64_t lookups;
    struct token_cache_stats stats;
};

struct token_cache *token_cache_new(void)
{
    struct token_cache *c = mem_new(struct token_cache);

    c->sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
    return c;
}

void token_cache_free(struct token_cache *c)
{
    if (c) {
        EVP_MD_free(c->sha256);
        mem_free(c->rows);
        mem_free(c);
    }
}

struct token_cache_stats token_cache_stats(const struct token_cache *c)
{
    return c->stats;
}

size_t token_cache_bytes(const struct token_cache *c)
{
    return c->rows ? TOKEN_CACHE_ROWS * sizeof(*c->rows) : 0;
}

/* Nobody chooses where a token goes: its digest has its issuer's signature in it. */
static struct row *row_of(const struct token_cache *c, const uint8_t *digest)
{
    uint32_t n;

    memcpy(&n, digest, sizeof(n));
    return &c->rows[n % TOKEN_CACHE_ROWS];
}

/* A clock that was set back makes no entry last longer. */
static bool is_valid(const struct entry *e, int64_t now_s)
{
    return e->keys > 0 && now_s < e->until_s && e->until_s - now_s <= TOKEN_CACHE_S;
}

static struct entry *find(const struct token_cache *c, const uint8_t *digest, uint64_t keys,
                          int64_t now_s)
{
    struct row *row = c->rows ? row_of(c, digest) : NULL;

    for (size_t i = 0; row && i < TOKEN_CACHE_WAYS; i++) {
        struct entry *e = &row->at[i];
        if (e->keys == keys && memcmp(e->digest, digest, sizeof(e->digest)) == 0) {
            return is_valid(e, now_s) ? e : NULL;
        }
    }
    return NULL;
}

static struct entry *make_room(struct token_cache *c, const uint8_t *digest, int64_t now_s)
{
    struct row *row = row_of(c, digest);
    struct entry *oldest = &row->at[0];

    for (size_t i = 0; i < TOKEN_CACHE_WAYS; i++) {
        struct entry *e = &row->at[i];
        if (!is_valid(e, now_s) || memcmp(e->digest, digest, sizeof(e->digest)) == 0) {
            return e;
        }
        oldest = e->used < oldest->used ? e : oldest;
    }
    return oldest;
}

static int64_t end_of(const struct jwt *t, int64_t now_s)
{
    double exp = json_num(json_get(t->claims, "exp"), (double)now_s + TOKEN_CACHE_S);

    return exp < (double)now_s + TOKEN_CACHE_S ? (int64_t)exp + 1 : now_s + TOKEN_CACHE_S;
}

static void put(struct token_cache *c, const uint8_t *digest, uint64_t keys, const struct jwt *t,
                int64_t now_s)
{
    int64_t until_s = end_of(t, now_s);

    if (until_s <= now_s) {
        return; /* it passes by the tolerance for clocks alone */
    }
    if (!c->rows) {
        c->rows = mem_array(TOKEN_CACHE_ROWS, sizeof(*c->rows));
    }
    struct entry *e = make_room(c, digest, now_s);
    memcpy(e->digest, digest, sizeof(e->digest));
    e->keys = keys;
    e->used = c->lookups;
    e->until_s = until_s;
}

static bool digest_of(const struct token_cache *c, struct slice text, uint8_t *digest)
{
    return c->sha256 && EVP_Digest(text.p, text.len, digest, NULL, c->sha256, NULL) == 1;
}

int token_cache_verify(struct token_cache *c, const struct jwks *keys, const struct jwt *t,
                       struct slice text, int64_t now_s)
{
    uint8_t digest[SHA256_DIGEST_LENGTH];
    uint64_t serial = jwks_serial(keys);

    if (!c || !digest_of(c, text, digest)) {
        return jwks_verify(keys, t);
    }
    c->lookups++;
    struct entry *e = find(c, digest, serial, now_s);
    if (e) {
        c->stats.hits++;
        e->used = c->lookups;
        return 0;
    }
    c->stats.misses++;
    int r = jwks_verify(keys, t);
    if (r == 0) {
        put(c, digest, serial, t, now_s);
    }
    return r;
}
