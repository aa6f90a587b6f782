/* SPDX-License-Identifier: Apache-2.0 */
/* What the memory of verified chains must never answer for. */
#include "tls/chain_cache.h"

#include <openssl/ssl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/num.h"
#include "pki.h"
#include "t.h"
#include "tls/credential_int.h"
#include "tls/handshake.h"
#include "tls/library.h"
#include "tls/ossl_int.h"

static const char SERVER[] = "spiffe://cluster.local/ns/shop/sa/server";
static const char OTHER[] = "spiffe://cluster.local/ns/shop/sa/other";
static const char CLIENT_SAN[] = "URI:spiffe://cluster.local/ns/shop/sa/client";

/* --- chains, without a handshake --- */

/* Two roots; middle under the first, a leaf under middle. */
struct family {
    struct pki_cert root, other, middle, leaf;
    struct trust *trust; /* root */
    struct trust *other_trust;
    struct trust *both;
    struct chain_cache *cache;
    int64_t now_s;
};

static struct trust *trust_of(const char *pem)
{
    struct trust *t = NULL;

    if (trust_new(&t, slice_of(pem), NULL) < 0) {
        abort();
    }
    return t;
}

static void family_start(struct family *f, const struct pki_spec *middle,
                         const struct pki_spec *leaf)
{
    char *two = NULL;

    f->root = pki_root(PKI_P256);
    f->other = pki_make(&(struct pki_spec){.subject = "other", .is_ca = true}, NULL);
    f->middle = pki_make(middle, &f->root);
    f->leaf = pki_make(leaf, &f->middle);
    f->trust = trust_of(f->root.cert);
    f->other_trust = trust_of(f->other.cert);
    if (asprintf(&two, "%s%s", f->other.cert, f->root.cert) < 0) {
        abort();
    }
    f->both = trust_of(two);
    free(two);
    f->cache = chain_cache_new();
    f->now_s = clock_wall_s();
}

static void family_stop(struct family *f)
{
    pki_free(&f->root);
    pki_free(&f->other);
    pki_free(&f->middle);
    pki_free(&f->leaf);
    f->trust = trust_unref(f->trust);
    f->other_trust = trust_unref(f->other_trust);
    f->both = trust_unref(f->both);
    chain_cache_free(f->cache);
}

static const struct pki_spec usual_middle = {.subject = "middle", .is_ca = true};
static const struct pki_spec usual_leaf = {.san = CLIENT_SAN};

static X509 *read_one(const char *pem)
{
    STACK_OF(X509) *list = NULL;

    if (pem_read_certs(&list, slice_of(pem), 1, "a certificate", NULL) < 0) {
        abort();
    }
    X509 *x = sk_X509_shift(list);
    certs_free(list);
    return x;
}

/* What the peer sent: a leaf and what follows on it. Taken: leaf. */
struct sent {
    X509 *leaf;
    const char *rest[2]; /* PEM */
    const struct trust *trust;
    bool of_client;
    int64_t at_s;
};

struct verdict {
    bool good, known;
    int error;
};

static struct verdict verify(struct chain_cache *c, const struct sent *s)
{
    STACK_OF(X509) *list = sk_X509_new_null();
    X509_STORE_CTX *ctx = X509_STORE_CTX_new_ex(tls_library(), NULL);
    struct chain_check check = {
        .trust = s->trust, .of_client = s->of_client, .now_s = s->at_s, .was_known = false};

    (void)sk_X509_push(list, s->leaf);
    for (unsigned i = 0; i < ARRAY_LEN(s->rest) && s->rest[i]; i++) {
        (void)sk_X509_push(list, read_one(s->rest[i]));
    }
    if (X509_STORE_CTX_init(ctx, trust_store(s->trust), s->leaf, list) != 1 ||
        X509_STORE_CTX_set_default(ctx, s->of_client ? "ssl_client" : "ssl_server") != 1) {
        abort();
    }
    bool good = chain_cache_verify(c, ctx, &check);
    struct verdict v = {good, check.was_known, X509_STORE_CTX_get_error(ctx)};
    X509_STORE_CTX_free(ctx);
    certs_free(list);
    return v;
}

static struct sent usual(const struct family *f)
{
    return (struct sent){.leaf = read_one(f->leaf.cert),
                         .rest = {f->middle.cert},
                         .trust = f->trust,
                         .of_client = true,
                         .at_s = f->now_s};
}

static struct verdict verify_usual(struct family *f)
{
    return verify(f->cache, &(struct sent){.leaf = read_one(f->leaf.cert),
                                           .rest = {f->middle.cert},
                                           .trust = f->trust,
                                           .of_client = true,
                                           .at_s = f->now_s});
}

TEST(a_good_chain_is_verified_once)
{
    struct family f;

    family_start(&f, &usual_middle, &usual_leaf);
    struct verdict first = verify_usual(&f);
    struct verdict second = verify_usual(&f);
    family_stop(&f);
    CHECK(first.good && !first.known);
    CHECK(second.good && second.known);
    CHECK_INT(second.error, X509_V_OK);
}

/* Else who has one certificate could fill the table. */
TEST(what_is_sent_and_not_needed_takes_no_place)
{
    struct family f;
    struct verdict padded, whole;

    family_start(&f, &usual_middle, &usual_leaf);
    for (unsigned twice = 0; twice < 2; twice++) {
        struct sent s = usual(&f);
        s.rest[1] = f.other.cert;
        padded = verify(f.cache, &s);
        s = usual(&f);
        s.rest[1] = f.root.cert; /* is part of the chain */
        whole = verify(f.cache, &s);
    }
    family_stop(&f);
    CHECK(padded.good && !padded.known);
    CHECK(whole.good && whole.known);
}

TEST(other_roots_know_nothing_of_it)
{
    struct family f;

    family_start(&f, &usual_middle, &usual_leaf);
    (void)verify_usual(&f);
    struct sent s = usual(&f);
    s.trust = f.other_trust;
    struct verdict changed = verify(f.cache, &s);
    s = usual(&f);
    s.trust = f.both;
    struct verdict more = verify(f.cache, &s);
    struct trust *again = trust_of(f.root.cert);
    s = usual(&f);
    s.trust = again;
    struct verdict same = verify(f.cache, &s);
    trust_unref(again);
    family_stop(&f);
    CHECK(!changed.good && !changed.known);
    CHECK(more.good && !more.known);
    CHECK(same.good && same.known); /* what the roots are counts, not who read them */
}

/* Of the leaf, then of the intermediate, whichever ends first. */
TEST(it_is_known_no_longer_than_its_shortest_certificate_is_valid)
{
    static const struct pki_spec short_middle = {
        .subject = "middle", .is_ca = true, .from_s = -30, .to_s = 500};
    static const struct pki_spec short_leaf = {.san = CLIENT_SAN, .from_s = -30, .to_s = 500};
    static const struct pki_spec *const pairs[][2] = {{&usual_middle, &short_leaf},
                                                      {&short_middle, &usual_leaf}};

    for (unsigned i = 0; i < ARRAY_LEN(pairs); i++) {
        struct family f;
        struct verdict v[4];
        family_start(&f, pairs[i][0], pairs[i][1]);
        (void)verify_usual(&f);
        static const int at[ARRAY_LEN(v)] = {490, 510, -100, 0};
        for (unsigned j = 0; j < ARRAY_LEN(v); j++) {
            struct sent s = usual(&f);
            s.at_s += at[j];
            v[j] = verify(f.cache, &s);
        }
        family_stop(&f);
        CHECK(v[0].good && v[0].known);
        CHECK(!v[1].good && !v[1].known);
        CHECK_INT(v[1].error, X509_V_ERR_CERT_HAS_EXPIRED);
        CHECK(!v[2].good && !v[2].known);
        CHECK_INT(v[2].error, X509_V_ERR_CERT_NOT_YET_VALID);
        CHECK(v[3].good && v[3].known);
    }
}

/* The leaf with one byte changed: of its name or the last one of its signature. NULL: not parsable. */
static X509 *forge(const char *pem, bool in_name)
{
    X509 *x = read_one(pem);
    unsigned char *der = NULL;
    int len = i2d_X509(x, &der);
    unsigned char *name = memmem(der, (size_t)len, "/sa/client", 10);

    X509_free(x);
    if (in_name) {
        name[4] = 'C';
    } else {
        der[len - 1] ^= 1;
    }
    const unsigned char *p = der;
    X509 *forged = X509_new_ex(tls_library(), NULL);
    d2i_X509(&forged, &p, len);
    OPENSSL_free(der);
    return forged;
}

TEST(a_leaf_that_was_tampered_with_is_not_known)
{
    struct family f;
    struct verdict v[3];

    family_start(&f, &usual_middle, &usual_leaf);
    (void)verify_usual(&f);
    for (unsigned i = 0; i < ARRAY_LEN(v); i++) {
        struct sent s = usual(&f);
        X509_free(s.leaf);
        s.leaf = forge(f.leaf.cert, i != 0); /* the third: the second once more */
        if (!s.leaf) {
            abort();
        }
        v[i] = verify(f.cache, &s);
    }
    family_stop(&f);
    for (unsigned i = 0; i < ARRAY_LEN(v); i++) {
        CHECK(!v[i].good && !v[i].known);
        CHECK_INT(v[i].error, X509_V_ERR_CERT_SIGNATURE_FAILURE);
    }
}

TEST(another_leaf_of_the_same_issuer_is_verified_itself)
{
    struct family f;

    family_start(&f, &usual_middle, &usual_leaf);
    (void)verify_usual(&f);
    struct pki_cert leaf = pki_make(&usual_leaf, &f.middle);
    struct sent s = usual(&f);
    X509_free(s.leaf);
    s.leaf = read_one(leaf.cert);
    struct verdict v = verify(f.cache, &s);
    pki_free(&leaf);
    family_stop(&f);
    CHECK(v.good && !v.known);
}

TEST(another_order_or_number_of_certificates_is_another_chain)
{
    struct family f;
    struct verdict v[4];

    family_start(&f, &usual_middle, &usual_leaf);
    const char *const rests[ARRAY_LEN(v)][2] = {{f.middle.cert, f.root.cert},
                                                {f.root.cert, f.middle.cert},
                                                {f.middle.cert, NULL},
                                                {NULL, NULL}};
    for (unsigned i = 0; i < ARRAY_LEN(v); i++) {
        struct sent s = usual(&f);
        memcpy(s.rest, rests[i], sizeof(s.rest));
        v[i] = verify(f.cache, &s);
    }
    family_stop(&f);
    for (unsigned i = 0; i < ARRAY_LEN(v); i++) {
        CHECK_INT(v[i].good, i < 3);
        CHECK(!v[i].known);
    }
}

TEST(what_a_client_may_be_a_server_may_not)
{
    static const struct pki_spec client_only = {.san = CLIENT_SAN, .eku = "clientAuth"};
    struct family f;

    family_start(&f, &usual_middle, &client_only);
    struct verdict client = verify_usual(&f);
    struct sent s = usual(&f);
    s.of_client = false;
    struct verdict server = verify(f.cache, &s);
    family_stop(&f);
    CHECK(client.good);
    CHECK(!server.good && !server.known);
    CHECK_INT(server.error, X509_V_ERR_INVALID_PURPOSE);
}

/* More lists of certificates than the table has places: a leaf with a number behind it, a 0 being the
 * one root and a 1 the other. */
TEST(the_table_does_not_grow)
{
    enum { BITS = 11, LISTS = 1 << BITS, PLACES = CHAIN_CACHE_ROWS * CHAIN_CACHE_WAYS };
    struct family f;
    unsigned good = 0;
    unsigned known = 0;

    _Static_assert(LISTS > PLACES, "the lists must not fit in");
    family_start(&f, &usual_middle, &usual_leaf);
    X509 *one = read_one(f.root.cert);
    X509 *two = read_one(f.other.cert);
    X509 *middle = read_one(f.middle.cert);
    X509 *leaf = read_one(f.leaf.cert);
    for (unsigned n = 0; n < 2 * LISTS; n++) {
        STACK_OF(X509) *list = sk_X509_new_null();
        (void)sk_X509_push(list, middle);
        for (unsigned bit = 0; bit < BITS; bit++) {
            (void)sk_X509_push(list, n >> bit & 1 ? one : two);
        }
        X509_STORE_CTX *ctx = X509_STORE_CTX_new_ex(tls_library(), NULL);
        struct chain_check check = {.trust = f.trust, .of_client = true, .now_s = f.now_s};
        (void)X509_STORE_CTX_init(ctx, trust_store(f.trust), leaf, list);
        (void)X509_STORE_CTX_set_default(ctx, "ssl_client");
        good += chain_cache_verify(f.cache, ctx, &check);
        known += check.was_known;
        X509_STORE_CTX_free(ctx);
        sk_X509_free(list);
    }
    X509_free(one);
    X509_free(two);
    X509_free(middle);
    X509_free(leaf);
    family_stop(&f);
    CHECK_INT(good, 2 * LISTS);
    CHECK(known <= PLACES);
}

struct racer {
    pthread_t thread;
    struct family *family;
    unsigned good, known;
    unsigned bad_known;
};

enum { RACERS = 4, LAPS = 30 };

static void *race(void *arg)
{
    struct racer *r = arg;

    for (int i = 0; i < LAPS; i++) {
        struct verdict v = verify_usual(r->family);
        struct sent s = usual(r->family);
        s.trust = r->family->other_trust;
        struct verdict bad = verify(r->family->cache, &s);
        r->good += v.good;
        r->known += v.known;
        r->bad_known += bad.known || bad.good;
    }
    return NULL;
}

TEST(several_threads_share_it)
{
    struct family f;
    struct racer r[RACERS] = {0};

    family_start(&f, &usual_middle, &usual_leaf);
    for (unsigned i = 0; i < RACERS; i++) {
        r[i].family = &f;
        if (pthread_create(&r[i].thread, NULL, race, &r[i]) != 0) {
            abort();
        }
    }
    for (unsigned i = 0; i < RACERS; i++) {
        (void)pthread_join(r[i].thread, NULL);
    }
    family_stop(&f);
    for (unsigned i = 0; i < RACERS; i++) {
        CHECK_INT(r[i].good, LAPS);
        CHECK(r[i].known >= LAPS - 1); /* each one's first may have been before all others' end */
        CHECK_INT(r[i].bad_known, 0);
    }
}

/* --- in handshakes --- */

struct meeting {
    enum handshake_state client, server;
    bool client_knew, server_knew; /* the other's chain */
    int client_error, server_error;
};

struct pair {
    struct credential *client;
    struct credential *server;
    const char *expect;
};

static struct meeting meet(struct tls_ctx *ctx, const struct pair *p)
{
    const struct handshake_spec specs[2] = {
        {.role = TLS_MESH_CLIENT, .credential = p->client, .expect = &p->expect, .expect_count = 1},
        {.role = TLS_MESH_SERVER, .credential = p->server}};
    struct handshake *client = NULL;
    struct handshake *server = NULL;
    struct meeting m = {0};
    struct tls_peer peer;

    if (handshake_new(&client, ctx, &specs[0], NULL) < 0 ||
        handshake_new(&server, ctx, &specs[1], NULL) < 0) {
        abort();
    }
    m.client = handshake_step_blocking(client, NULL, 0, NULL);
    for (int turn = 0; turn < 3; turn++) {
        struct slice out = handshake_output(client);
        m.server = handshake_step_blocking(server, out.p, out.len, NULL);
        out = handshake_output(server);
        if (m.client == HANDSHAKE_WANTS_INPUT) {
            m.client = handshake_step_blocking(client, out.p, out.len, NULL);
        }
    }
    m.client_error = handshake_error(client);
    m.server_error = handshake_error(server);
    handshake_take_peer(client, &peer);
    m.client_knew = peer.chain_was_known;
    tls_peer_fini(&peer);
    handshake_take_peer(server, &peer);
    m.server_knew = peer.chain_was_known;
    tls_peer_fini(&peer);
    handshake_free(client);
    handshake_free(server);
    return m;
}

struct mesh {
    struct tls_ctx *ctx;
    struct pki_cert root;
    struct pair pair;
};

/* Both have met once. */
static void mesh_start(struct mesh *m)
{
    if (tls_ctx_new(&m->ctx, NULL, NULL) < 0) {
        abort();
    }
    m->root = pki_root(PKI_P256);
    m->pair = (struct pair){pki_credential(&m->root, "client"), pki_credential(&m->root, "server"),
                            SERVER};
    if (meet(m->ctx, &m->pair).server != HANDSHAKE_DONE) {
        abort();
    }
}

static void mesh_stop(struct mesh *m)
{
    credential_unref(m->pair.client);
    credential_unref(m->pair.server);
    pki_free(&m->root);
    tls_ctx_free(m->ctx);
}

TEST(peers_that_met_before_know_each_other)
{
    struct mesh m;

    mesh_start(&m);
    struct meeting again = meet(m.ctx, &m.pair);
    mesh_stop(&m);
    CHECK_INT(again.client, HANDSHAKE_DONE);
    CHECK_INT(again.server, HANDSHAKE_DONE);
    CHECK(again.client_knew && again.server_knew);
}

/* Chains are public; who has only that is nobody. */
TEST(a_known_chain_without_its_key_is_worth_nothing)
{
    struct mesh m;
    struct pki_cert leaf, thief;

    mesh_start(&m);
    leaf = pki_make(&usual_leaf, &m.root);
    thief = pki_make(&usual_leaf, &m.root);
    struct pair p = m.pair;
    p.client = pki_credential_of(&leaf, &m.root);
    struct meeting honest = meet(m.ctx, &p);
    credential_unref(p.client);
    struct signer *wrong = NULL;
    struct credential *stolen = NULL;
    int r = signer_local_new(&wrong, slice_of(thief.key), NULL);
    r = r < 0 ? r
              : credential_new(&stolen,
                               &(struct credential_source){.chain_pem = slice_of(leaf.cert),
                                                           .roots_pem = slice_of(m.root.cert),
                                                           .signer = wrong},
                               NULL);
    p.client = stolen;
    struct meeting theft = r < 0 ? (struct meeting){0} : meet(m.ctx, &p);
    credential_unref(stolen);
    signer_unref(wrong);
    pki_free(&leaf);
    pki_free(&thief);
    mesh_stop(&m);
    CHECK_INT(r, 0);
    CHECK_INT(honest.server, HANDSHAKE_DONE);
    CHECK_INT(theft.server, HANDSHAKE_FAILED);
    CHECK_INT(theft.server_error, -ERR_TLS);
    CHECK(theft.server_knew); /* so it was the signature of the handshake */
}

TEST(a_known_chain_of_another_name_is_refused)
{
    struct mesh m;

    mesh_start(&m);
    m.pair.expect = OTHER;
    struct meeting v = meet(m.ctx, &m.pair);
    mesh_stop(&m);
    CHECK_INT(v.client, HANDSHAKE_FAILED);
    CHECK_INT(v.client_error, -ERR_IDENTITY);
    CHECK(v.client_knew);
}

TEST(roots_that_were_taken_away_end_it_at_once)
{
    struct mesh m;
    struct pki_cert fresh = pki_root(PKI_P256);

    mesh_start(&m);
    struct pki_cert leaf = pki_make(
        &(struct pki_spec){.san = "URI:spiffe://cluster.local/ns/shop/sa/server"}, &m.root);
    struct pair p = m.pair;
    p.server = pki_credential_of(&leaf, &fresh); /* the client still believes it */
    struct meeting v = meet(m.ctx, &p);
    credential_unref(p.server);
    pki_free(&leaf);
    pki_free(&fresh);
    mesh_stop(&m);
    CHECK_INT(v.server, HANDSHAKE_FAILED);
    CHECK_INT(v.server_error, -ERR_CERTIFICATE);
    CHECK(!v.server_knew);
}
