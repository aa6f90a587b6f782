/* SPDX-License-Identifier: Apache-2.0 */
#include "tls/handshake.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/num.h"
#include "pki.h"
#include "t.h"

static const char SERVER[] = "spiffe://cluster.local/ns/shop/sa/server";
static const char CLIENT[] = "spiffe://cluster.local/ns/shop/sa/client";
static const char *const alpn_h2[] = {"h2"};
static const char *const expect_server[] = {SERVER};

/* One mesh for all tests: made once, because keys cost time. */
struct mesh {
    struct tls_ctx *ctx;
    struct pki_cert root;
    struct credential *server;
    struct credential *client;
};
static struct mesh mesh;

static struct mesh *the_mesh(void)
{
    if (!mesh.ctx) {
        if (tls_ctx_new(&mesh.ctx, NULL, NULL) < 0) {
            abort();
        }
        mesh.root = pki_root(PKI_P256);
        mesh.server = pki_credential(&mesh.root, "server");
        mesh.client = pki_credential(&mesh.root, "client");
    }
    return &mesh;
}

__attribute__((destructor)) static void free_mesh(void)
{
    tls_ctx_free(mesh.ctx);
    pki_free(&mesh.root);
    mesh.server = credential_unref(mesh.server);
    mesh.client = credential_unref(mesh.client);
}

static struct handshake_spec client_spec(void)
{
    return (struct handshake_spec){.role = TLS_MESH_CLIENT,
                                   .credential = the_mesh()->client,
                                   .expect = expect_server,
                                   .expect_count = 1,
                                   .alpn = alpn_h2,
                                   .alpn_count = 1};
}

static struct handshake_spec server_spec(void)
{
    return (struct handshake_spec){.role = TLS_MESH_SERVER,
                                   .credential = the_mesh()->server,
                                   .alpn = alpn_h2,
                                   .alpn_count = 1};
}

struct side {
    struct handshake *h;
    enum handshake_state state;
    struct diag why;
    struct tls_peer peer;
    struct record *record;
};

struct duel {
    struct side client;
    struct side server;
    int late_alert; /* what the client's record layer says about the server's last words */
    struct diag late_why;
};

static void step(struct side *s, const void *in, size_t len)
{
    s->state = handshake_step_blocking(s->h, in, len, &s->why);
}

static void take(struct side *s)
{
    if (s->state == HANDSHAKE_DONE) {
        handshake_take_peer(s->h, &s->peer);
        if (handshake_take_record(s->h, &s->record, NULL) < 0) {
            abort();
        }
    }
}

/* The server's output once the client is done belongs to the client's record layer. */
static void read_late(struct duel *d)
{
    struct slice out = handshake_output(d->server.h);
    uint8_t copy[4096];
    struct iovec iov[4];
    struct record_run run = {.iov = iov, .iov_max = 4};

    if (d->client.record && d->server.state == HANDSHAKE_FAILED && out.len <= sizeof(copy)) {
        memcpy(copy, out.p, out.len);
        d->late_alert = record_open(d->client.record, copy, out.len, &run, &d->late_why);
    }
}

/* cut: bytes given to the server at a time, 0 for all. */
static int duel_run(struct duel *d, const struct handshake_spec *client,
                    const struct handshake_spec *server, size_t cut)
{
    *d = (struct duel){0};
    if (handshake_new(&d->client.h, the_mesh()->ctx, client, &d->client.why) < 0 ||
        handshake_new(&d->server.h, the_mesh()->ctx, server, &d->server.why) < 0) {
        return -ERR_TLS;
    }
    step(&d->client, NULL, 0);
    for (int turn = 0; turn < 8; turn++) {
        struct slice out = handshake_output(d->client.h);
        size_t part = cut ? cut : out.len;
        for (size_t at = 0; at < out.len; at += part) {
            step(&d->server, out.p + at, MIN_OF(part, out.len - at));
        }
        if (d->client.state != HANDSHAKE_WANTS_INPUT || d->server.state == HANDSHAKE_DONE) {
            break;
        }
        out = handshake_output(d->server.h);
        step(&d->client, out.p, out.len);
    }
    take(&d->client);
    take(&d->server);
    read_late(d);
    return 0;
}

static void side_stop(struct side *s)
{
    handshake_free(s->h);
    record_free(s->record);
    tls_peer_fini(&s->peer);
}

static void duel_stop(struct duel *d)
{
    side_stop(&d->client);
    side_stop(&d->server);
}

static bool both_done(const struct duel *d)
{
    return d->client.state == HANDSHAKE_DONE && d->server.state == HANDSHAKE_DONE;
}

/* What one side seals the other opens, both ways. */
static bool records_flow(const struct duel *d)
{
    struct record *from[] = {d->client.record, d->server.record};

    for (int i = 0; i < 2; i++) {
        uint8_t run[64] = {0};
        struct iovec iov[1];
        struct record_run got = {.iov = iov, .iov_max = 1};
        memcpy(run + RECORD_HEAD, "hello", 5);
        if (record_seal(from[i], run, 5, NULL) < 0 ||
            record_open(from[1 - i], run, record_run_bytes(5), &got, NULL) < 0 || got.bytes != 5 ||
            memcmp(iov[0].iov_base, "hello", 5) != 0) {
            return false;
        }
    }
    return true;
}

TEST(two_workloads_prove_who_they_are)
{
    struct handshake_spec c = client_spec();
    struct handshake_spec s = server_spec();
    struct duel d;

    CHECK_INT(duel_run(&d, &c, &s, 0), 0);
    CHECK(both_done(&d));
    CHECK_STR(d.client.peer.identity, SERVER);
    CHECK_STR(d.server.peer.identity, CLIENT);
    CHECK_STR(d.client.peer.alpn, "h2");
    CHECK_STR(d.server.peer.alpn, "h2");
    CHECK_STR(d.client.peer.suite, "TLS_AES_256_GCM_SHA384");
    CHECK(records_flow(&d));
    duel_stop(&d);
}

TEST(input_may_come_in_small_pieces)
{
    struct handshake_spec c = client_spec();
    struct handshake_spec s = server_spec();
    struct duel d;

    CHECK_INT(duel_run(&d, &c, &s, 50), 0);
    CHECK(both_done(&d));
    CHECK(records_flow(&d));
    duel_stop(&d);
}

TEST(a_trickle_of_single_bytes_is_cut_off)
{
    struct handshake_spec c = client_spec();
    struct handshake_spec s = server_spec();
    struct duel d;

    CHECK_INT(duel_run(&d, &c, &s, 1), 0);
    CHECK_INT(d.server.state, HANDSHAKE_FAILED);
    CHECK_INT(handshake_error(d.server.h), -ERR_TOO_LARGE);
    duel_stop(&d);
}

TEST(alpn_may_be_absent_on_either_side_but_must_overlap)
{
    static const char *const h1[] = {"http/1.1"};
    static const char *const both[] = {"http/1.1", "h2"};
    static const struct {
        const char *const *client;
        unsigned client_count;
        const char *const *server;
        unsigned server_count;
        const char *result; /* NULL: refused */
    } cases[] = {
        {NULL, 0, alpn_h2, 1, ""}, {alpn_h2, 1, NULL, 0, ""},   {NULL, 0, NULL, 0, ""},
        {h1, 1, alpn_h2, 1, NULL}, {both, 2, alpn_h2, 1, "h2"}, {both, 2, both, 2, "http/1.1"},
    };

    for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
        struct handshake_spec c = client_spec();
        struct handshake_spec s = server_spec();
        struct duel d;
        c.alpn = cases[i].client;
        c.alpn_count = cases[i].client_count;
        s.alpn = cases[i].server;
        s.alpn_count = cases[i].server_count;
        CHECK_INT(duel_run(&d, &c, &s, 0), 0);
        CHECK_INT(both_done(&d), cases[i].result != NULL);
        if (cases[i].result) {
            CHECK_STR(d.client.peer.alpn, cases[i].result);
            CHECK_STR(d.server.peer.alpn, cases[i].result);
        } else {
            CHECK_STR(d.client.why.text, "peer sent TLS alert 120 (no application protocol)");
        }
        duel_stop(&d);
    }
}

/* A client whose certificate must not be accepted, and what it is told. */
struct bad_client {
    const char *what;
    struct pki_spec leaf;
    bool other_root;
    int error;
    int alert;
    const char *text; /* in the server's error */
};

static const struct bad_client bad_clients[] = {
    {"another trust domain",
     {.san = "URI:spiffe://other.local/ns/shop/sa/client"},
     false,
     -ERR_IDENTITY,
     46,
     "spiffe://other.local/ns/shop/sa/client, expected trust domain cluster.local"},
    {"two SPIFFE names",
     {.san = "URI:spiffe://cluster.local/ns/shop/sa/a,URI:spiffe://cluster.local/ns/shop/sa/b"},
     false,
     -ERR_IDENTITY,
     46,
     "2 SPIFFE names"},
    {"two trust domains",
     {.san = "URI:spiffe://other.local/ns/shop/sa/a,URI:spiffe://cluster.local/ns/shop/sa/b"},
     false,
     -ERR_IDENTITY,
     46,
     "2 SPIFFE names"},
    {"no SAN", {.subject = "x"}, false, -ERR_IDENTITY, 46, "no SPIFFE name"},
    {"DNS SAN only", {.san = "DNS:client.example"}, false, -ERR_IDENTITY, 46, "no SPIFFE name"},
    {"unparsable SPIFFE name",
     {.san = "URI:spiffe://cluster.local/foo"},
     false,
     -ERR_IDENTITY,
     46,
     "no SPIFFE name"},
    {"expired",
     {.san = "URI:spiffe://cluster.local/ns/shop/sa/client", .from_s = -7200, .to_s = -60},
     false,
     -ERR_CERTIFICATE,
     45,
     "expired"},
    {"not yet valid",
     {.san = "URI:spiffe://cluster.local/ns/shop/sa/client", .from_s = 600, .to_s = 7200},
     false,
     -ERR_CERTIFICATE,
     42,
     "not yet valid"},
    {"wrong EKU",
     {.san = "URI:spiffe://cluster.local/ns/shop/sa/client", .eku = "serverAuth"},
     false,
     -ERR_CERTIFICATE,
     43,
     "purpose"},
    {"another root of the same name",
     {.san = "URI:spiffe://cluster.local/ns/shop/sa/client"},
     true,
     -ERR_CERTIFICATE,
     51,
     "signature"},
};

/* A foreign end of a handshake, by OpenSSL, that presents any certificate and believes anyone. */
struct foreign {
    SSL_CTX *ctx;
    SSL *ssl;
    BIO *in;
    BIO *out;
    int result;
};

static void foreign_start(struct foreign *f, const struct pki_cert *leaf, bool client)
{
    f->ctx = SSL_CTX_new(TLS_method());
    if (leaf) {
        BIO *b = BIO_new_mem_buf(leaf->cert, -1);
        X509 *x = PEM_read_bio_X509(b, NULL, NULL, NULL);
        BIO_free(b);
        b = BIO_new_mem_buf(leaf->key, -1);
        EVP_PKEY *k = PEM_read_bio_PrivateKey(b, NULL, NULL, NULL);
        BIO_free(b);
        if (SSL_CTX_use_certificate(f->ctx, x) != 1 || SSL_CTX_use_PrivateKey(f->ctx, k) != 1) {
            abort();
        }
        X509_free(x);
        EVP_PKEY_free(k);
    }
    f->ssl = SSL_new(f->ctx);
    f->in = BIO_new(BIO_s_mem());
    f->out = BIO_new(BIO_s_mem());
    (void)BIO_set_mem_eof_return(f->in, -1);
    SSL_set_bio(f->ssl, f->in, f->out);
    if (client) {
        SSL_set_connect_state(f->ssl);
    } else {
        SSL_set_accept_state(f->ssl);
    }
}

static void foreign_stop(struct foreign *f)
{
    SSL_free(f->ssl);
    SSL_CTX_free(f->ctx);
}

/* Runs both ends until nothing moves; afterwards the foreign end has read everything. */
static enum handshake_state meet(struct foreign *f, struct handshake *h, struct diag *why)
{
    enum handshake_state state = HANDSHAKE_WANTS_INPUT;
    static char buf[16384];
    char byte;

    for (int turn = 0; turn < 8; turn++) {
        f->result = SSL_do_handshake(f->ssl);
        if (f->result == 1) {
            f->result = SSL_read(f->ssl, &byte, 1); /* a late alert */
        }
        int n = BIO_read(f->out, buf, sizeof(buf));
        if (n <= 0 && (turn > 0 || SSL_in_connect_init(f->ssl))) {
            break;
        }
        state = handshake_step_blocking(h, buf, n > 0 ? (size_t)n : 0, why);
        struct slice out = handshake_output(h);
        (void)BIO_write(f->in, out.p, (int)out.len);
    }
    return state;
}

/* The alert that the foreign end was sent, 0 when none. */
static int foreign_alert(void)
{
    unsigned long e = 0;
    int alert = 0;

    while ((e = ERR_get_error()) != 0) {
        if (ERR_GET_LIB(e) == ERR_LIB_SSL && ERR_GET_REASON(e) > SSL_AD_REASON_OFFSET) {
            alert = ERR_GET_REASON(e) - SSL_AD_REASON_OFFSET;
        }
    }
    return alert;
}

TEST(a_client_that_must_not_come_in_is_refused_and_told_why)
{
    for (unsigned i = 0; i < ARRAY_LEN(bad_clients); i++) {
        const struct bad_client *b = &bad_clients[i];
        struct pki_cert other = pki_root(PKI_P256);
        struct pki_cert leaf = pki_make(&b->leaf, b->other_root ? &other : &the_mesh()->root);
        struct handshake_spec s = server_spec();
        struct handshake *h = NULL;
        struct foreign f = {0};
        struct diag why = {0};

        printf("# %s\n", b->what);
        CHECK_INT(handshake_new(&h, the_mesh()->ctx, &s, NULL), 0);
        foreign_start(&f, &leaf, true);
        CHECK_INT(meet(&f, h, &why), HANDSHAKE_FAILED);
        CHECK_INT(foreign_alert(), b->alert);
        CHECK_INT(handshake_error(h), b->error);
        if (!strstr(why.text, b->text)) {
            CHECK_STR(why.text, b->text);
        }
        foreign_stop(&f);
        handshake_free(h);
        pki_free(&other);
        pki_free(&leaf);
    }
}

struct bad_server {
    const char *what;
    struct pki_spec leaf;
    bool other_root;
    int error;
    int alert;
    const char *text;
};

static const struct bad_server bad_servers[] = {
    {"another account",
     {.san = "URI:spiffe://cluster.local/ns/shop/sa/other"},
     false,
     -ERR_IDENTITY,
     46,
     "peer is spiffe://cluster.local/ns/shop/sa/other, expected "
     "spiffe://cluster.local/ns/shop/sa/server"},
    {"the right name beside another",
     {.san = "URI:spiffe://cluster.local/ns/shop/sa/other,URI:spiffe://cluster.local/ns/shop/sa/"
             "server"},
     false,
     -ERR_IDENTITY,
     46,
     "2 SPIFFE names"},
    {"the right name twice",
     {.san = "URI:spiffe://cluster.local/ns/shop/sa/server,URI:spiffe://cluster.local/ns/shop/sa/"
             "server"},
     false,
     -ERR_IDENTITY,
     46,
     "2 SPIFFE names"},
    {"no SAN", {.subject = "x"}, false, -ERR_IDENTITY, 46, "no SPIFFE name, expected"},
    {"expired",
     {.san = "URI:spiffe://cluster.local/ns/shop/sa/server", .from_s = -7200, .to_s = -1},
     false,
     -ERR_CERTIFICATE,
     45,
     "expired"},
    {"wrong EKU",
     {.san = "URI:spiffe://cluster.local/ns/shop/sa/server", .eku = "clientAuth"},
     false,
     -ERR_CERTIFICATE,
     43,
     "purpose"},
    {"another root",
     {.san = "URI:spiffe://cluster.local/ns/shop/sa/server"},
     true,
     -ERR_CERTIFICATE,
     51,
     "signature"},
};

TEST(a_server_that_is_somebody_else_is_refused_and_told_why)
{
    for (unsigned i = 0; i < ARRAY_LEN(bad_servers); i++) {
        const struct bad_server *b = &bad_servers[i];
        struct pki_cert other = pki_root(PKI_P256);
        struct pki_cert leaf = pki_make(&b->leaf, b->other_root ? &other : &the_mesh()->root);
        struct handshake_spec c = client_spec();
        struct handshake *h = NULL;
        struct foreign f = {0};
        struct diag why = {0};

        printf("# %s\n", b->what);
        CHECK_INT(handshake_new(&h, the_mesh()->ctx, &c, NULL), 0);
        foreign_start(&f, &leaf, false);
        CHECK_INT(meet(&f, h, &why), HANDSHAKE_FAILED);
        CHECK_INT(foreign_alert(), b->alert);
        CHECK_INT(handshake_error(h), b->error);
        if (!strstr(why.text, b->text)) {
            CHECK_STR(why.text, b->text);
        }
        foreign_stop(&f);
        handshake_free(h);
        pki_free(&other);
        pki_free(&leaf);
    }
}

/* Certificates of every kind and chains of every root are fine. */
TEST(peers_with_other_kinds_of_keys_and_roots_are_accepted)
{
    static const enum pki_key kinds[] = {PKI_P256, PKI_P384, PKI_RSA, PKI_ED25519};

    for (unsigned i = 0; i < ARRAY_LEN(kinds); i++) {
        struct pki_cert leaf = pki_make(
            &(struct pki_spec){
                .key = kinds[i], .san = "URI:spiffe://cluster.local/ns/shop/sa/client", .eku = ""},
            &the_mesh()->root);
        struct handshake_spec s = server_spec();
        struct handshake *h = NULL;
        struct foreign f = {0};
        struct diag why = {0};
        struct tls_peer peer;

        CHECK_INT(handshake_new(&h, the_mesh()->ctx, &s, NULL), 0);
        foreign_start(&f, &leaf, true);
        CHECK_INT(meet(&f, h, &why), HANDSHAKE_DONE);
        handshake_take_peer(h, &peer);
        CHECK_STR(peer.identity, CLIENT);
        CHECK_STR(peer.alpn, "");
        tls_peer_fini(&peer);
        foreign_stop(&f);
        handshake_free(h);
        pki_free(&leaf);
    }
}

TEST(an_rsa_root_over_an_intermediate_is_followed)
{
    struct pki_cert root = pki_root(PKI_RSA);
    struct pki_cert middle =
        pki_make(&(struct pki_spec){.subject = "middle", .is_ca = true}, &root);
    struct pki_cert leaf = pki_make(
        &(struct pki_spec){.san = "URI:spiffe://cluster.local/ns/shop/sa/server"}, &middle);
    struct pki_cert leaf2 =
        pki_make(&(struct pki_spec){.san = "URI:spiffe://cluster.local/ns/shop/sa/client"}, &root);
    AUTO(strbuf) struct strbuf chain = {0};
    struct handshake_spec c = client_spec();
    struct handshake_spec s = server_spec();
    struct duel d;

    strbuf_puts(&chain, leaf.cert);
    strbuf_puts(&chain, middle.cert);
    struct pki_cert whole = {strbuf_take(&chain), leaf.key};
    s.credential = pki_credential_of(&whole, &root);
    c.credential = pki_credential_of(&leaf2, &root);
    CHECK_INT(credential_chain_count(s.credential), 2);
    CHECK_INT(duel_run(&d, &c, &s, 0), 0);
    CHECK(both_done(&d));
    CHECK(records_flow(&d));
    duel_stop(&d);
    /* The same leaf without its intermediate leads nowhere. */
    s.credential = credential_unref(s.credential);
    s.credential = pki_credential_of(&leaf, &root);
    CHECK_INT(duel_run(&d, &c, &s, 0), 0);
    CHECK_INT(handshake_error(d.client.h), -ERR_CERTIFICATE);
    duel_stop(&d);
    s.credential = credential_unref(s.credential);
    c.credential = credential_unref(c.credential);
    mem_free(whole.cert);
    pki_free(&root);
    pki_free(&middle);
    pki_free(&leaf);
    pki_free(&leaf2);
}

TEST(a_client_without_certificate_learns_that_one_is_required)
{
    struct handshake_spec s = server_spec();
    struct handshake *h = NULL;
    struct foreign f = {0};
    struct diag why = {0};

    CHECK_INT(handshake_new(&h, the_mesh()->ctx, &s, NULL), 0);
    foreign_start(&f, NULL, true);
    CHECK_INT(meet(&f, h, &why), HANDSHAKE_FAILED);
    CHECK_INT(foreign_alert(), 116);
    foreign_stop(&f);
    handshake_free(h);
}

TEST(older_versions_and_other_protocols_are_refused_with_the_recorded_alerts)
{
    struct handshake_spec s = server_spec();
    struct handshake *h = NULL;
    struct foreign f = {0};
    struct diag why = {0};
    static const uint8_t decode_error[] = {21, 3, 3, 0, 2, 2, 50};

    CHECK_INT(handshake_new(&h, the_mesh()->ctx, &s, NULL), 0);
    foreign_start(&f, NULL, true);
    (void)SSL_set_max_proto_version(f.ssl, TLS1_2_VERSION);
    CHECK_INT(meet(&f, h, &why), HANDSHAKE_FAILED);
    CHECK_INT(foreign_alert(), 70);
    foreign_stop(&f);
    handshake_free(h);
    CHECK_INT(handshake_new(&h, the_mesh()->ctx, &s, NULL), 0);
    CHECK_INT(handshake_step_blocking(h, "GET / HTTP/1.1\r\n", 16, &why), HANDSHAKE_FAILED);
    struct slice out = handshake_output(h);
    CHECK_INT(out.len, sizeof(decode_error));
    CHECK_MEM(out.p, decode_error, sizeof(decode_error));
    handshake_free(h);
}

/* The extensions of a ClientHello: type of each, in order of the message. */
static unsigned extensions(const uint8_t *hello, size_t len, uint16_t *types, const uint8_t **at)
{
    size_t p = 5 + 4 + 2 + 32;
    unsigned count = 0;

    p += 1u + hello[p];            /* session id */
    p += 2u + be16_get(hello + p); /* suites */
    p += 1u + hello[p];            /* compression */
    p += 2;
    while (p + 4 <= len && count < 32) {
        types[count] = be16_get(hello + p);
        at[count++] = hello + p + 4;
        p += 4u + be16_get(hello + p + 2);
    }
    return count;
}

TEST(a_client_hello_offers_what_the_contract_says)
{
    struct handshake_spec c = client_spec();
    struct handshake *h = NULL;
    uint16_t types[32];
    const uint8_t *at[32];
    static const uint8_t suites[] = {0x13, 0x02, 0x13, 0x01};
    static const uint8_t groups[] = {0, 6, 0, 0x1d, 0, 0x17, 0, 0x18};
    static const uint8_t share[] = {0, 36, 0, 0x1d, 0, 32};
    static const uint8_t alpn[] = {0, 3, 2, 'h', '2'};
    static const uint8_t versions[] = {2, 3, 4};
    static const uint8_t signatures[] = {0, 20, 5, 3, 4, 3, 6, 3, 8, 7, 8,
                                         6, 8,  5, 8, 4, 6, 1, 5, 1, 4, 1};
    unsigned seen = 0;

    CHECK_INT(handshake_new(&h, the_mesh()->ctx, &c, NULL), 0);
    CHECK_INT(handshake_step_blocking(h, NULL, 0, NULL), HANDSHAKE_WANTS_INPUT);
    struct slice out = handshake_output(h);
    const uint8_t *hello = (const uint8_t *)out.p;
    CHECK_INT(hello[43], 32); /* a session id, as middleboxes like it */
    /* OpenSSL adds the signalling value for renegotiation that never happens. */
    CHECK_MEM(hello + 78, suites, sizeof(suites));
    unsigned n = extensions(hello, out.len, types, at);
    for (unsigned i = 0; i < n; i++) {
        CHECK(types[i] != 0);  /* no SNI on the mesh */
        CHECK(types[i] != 35); /* no session ticket */
        switch (types[i]) {
        case 10:
            CHECK_MEM(at[i], groups, sizeof(groups));
            seen++;
            break;
        case 13:
            CHECK_MEM(at[i], signatures, sizeof(signatures));
            seen++;
            break;
        case 16:
            CHECK_MEM(at[i], alpn, sizeof(alpn));
            seen++;
            break;
        case 43:
            CHECK_MEM(at[i], versions, sizeof(versions));
            seen++;
            break;
        case 51:
            CHECK_MEM(at[i], share, sizeof(share));
            seen++;
            break;
        default:
            break;
        }
    }
    CHECK_INT(seen, 5);
    handshake_free(h);
}

TEST(the_recorded_client_hello_is_answered)
{
    size_t len = 0;
    char *hello = test_vector("tls/client-hello.bin", &len);
    struct handshake_spec s = server_spec();
    struct handshake *h = NULL;
    struct diag why;

    CHECK_INT(handshake_new(&h, the_mesh()->ctx, &s, NULL), 0);
    CHECK_INT(handshake_step_blocking(h, hello, len, &why), HANDSHAKE_WANTS_INPUT);
    struct slice out = handshake_output(h);
    CHECK(out.len > 500);
    CHECK_INT(out.p[0], 22);
    CHECK_INT(out.p[5], 2); /* ServerHello */
    free(hello);
    handshake_free(h);
}

TEST(a_server_takes_the_clients_order_of_suites_and_its_key_share)
{
    static const struct {
        const char *suites;
        const char *groups;
        const char *suite;
    } cases[] = {
        {"TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384", "P-384", "TLS_AES_128_GCM_SHA256"},
        {"TLS_AES_256_GCM_SHA384:TLS_AES_128_GCM_SHA256", "P-256", "TLS_AES_256_GCM_SHA384"},
        {"TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256", "P-521:X25519",
         "TLS_AES_128_GCM_SHA256"}, /* by way of a HelloRetryRequest */
    };
    struct pki_cert leaf =
        pki_make(&(struct pki_spec){.san = "URI:spiffe://cluster.local/ns/shop/sa/client"},
                 &the_mesh()->root);

    for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
        struct handshake_spec s = server_spec();
        struct handshake *h = NULL;
        struct foreign f = {0};
        struct diag why = {0};
        struct tls_peer peer;

        CHECK_INT(handshake_new(&h, the_mesh()->ctx, &s, NULL), 0);
        foreign_start(&f, &leaf, true);
        (void)SSL_set_ciphersuites(f.ssl, cases[i].suites);
        (void)SSL_set1_groups_list(f.ssl, (char *)(uintptr_t)cases[i].groups);
        CHECK_INT(meet(&f, h, &why), HANDSHAKE_DONE);
        handshake_take_peer(h, &peer);
        CHECK_STR(peer.suite, cases[i].suite);
        tls_peer_fini(&peer);
        foreign_stop(&f);
        handshake_free(h);
    }
    pki_free(&leaf);
}

TEST(no_common_suite_or_group_is_a_handshake_failure)
{
    for (int i = 0; i < 2; i++) {
        struct handshake_spec s = server_spec();
        struct handshake *h = NULL;
        struct foreign f = {0};
        struct diag why = {0};

        CHECK_INT(handshake_new(&h, the_mesh()->ctx, &s, NULL), 0);
        foreign_start(&f, NULL, true);
        if (i == 0) {
            (void)SSL_set_ciphersuites(f.ssl, "TLS_CHACHA20_POLY1305_SHA256");
        } else {
            (void)SSL_set1_groups_list(f.ssl, (char *)(uintptr_t) "P-521");
        }
        CHECK_INT(meet(&f, h, &why), HANDSHAKE_FAILED);
        CHECK_INT(foreign_alert(), 40);
        foreign_stop(&f);
        handshake_free(h);
    }
}

TEST(any_of_the_expected_names_will_do)
{
    static const char *const many[] = {"spiffe://cluster.local/ns/shop/sa/a", SERVER};
    struct handshake_spec c = client_spec();
    struct handshake_spec s = server_spec();
    struct duel d;

    c.expect = many;
    c.expect_count = 2;
    CHECK_INT(duel_run(&d, &c, &s, 0), 0);
    CHECK(both_done(&d));
    duel_stop(&d);
    c.expect_count = 1;
    CHECK_INT(duel_run(&d, &c, &s, 0), 0);
    CHECK_INT(handshake_error(d.client.h), -ERR_IDENTITY);
    CHECK_INT(handshake_error(d.server.h), -ERR_TLS_ALERT);
    CHECK_STR(d.server.why.text, "peer sent TLS alert 46 (certificate unknown)");
    duel_stop(&d);
}

TEST(a_refused_client_hears_of_it_through_its_record_layer)
{
    struct handshake_spec c = client_spec();
    struct handshake_spec s = server_spec();
    struct duel d;
    struct pki_cert leaf = pki_make(
        &(struct pki_spec){.san = "URI:spiffe://other.local/ns/shop/sa/client"}, &the_mesh()->root);

    c.credential = pki_credential_of(&leaf, &the_mesh()->root);
    CHECK_INT(duel_run(&d, &c, &s, 0), 0);
    CHECK_INT(d.client.state, HANDSHAKE_DONE);
    CHECK_INT(d.server.state, HANDSHAKE_FAILED);
    CHECK_INT(d.late_alert, -ERR_TLS_ALERT);
    CHECK_STR(d.late_why.text, "peer sent TLS alert 46 (certificate unknown)");
    duel_stop(&d);
    c.credential = credential_unref(c.credential);
    pki_free(&leaf);
}

static struct trust *trust_of(const struct pki_cert *root)
{
    struct trust *t = NULL;

    if (trust_new(&t, slice_of(root->cert), NULL) < 0) {
        abort();
    }
    return t;
}

TEST(a_control_plane_is_verified_by_its_host_name_or_address)
{
    static const struct {
        const char *san;
        const char *host;
        int error;
    } cases[] = {
        {"DNS:ambitd.mesh.svc", "ambitd.mesh.svc", 0},
        {"DNS:ambitd.mesh.svc", "AMBITD.mesh.svc", 0},
        {"DNS:*.mesh.svc", "ambitd.mesh.svc", 0},
        {"DNS:ambitd.mesh.svc", "other.mesh.svc", -ERR_CERTIFICATE},
        {"DNS:ambitd.mesh.svc,IP:10.0.0.7", "10.0.0.7", 0},
        {"IP:fd00::7", "fd00::7", 0},
        {"DNS:10.0.0.7", "10.0.0.7", -ERR_CERTIFICATE},
        {"IP:10.0.0.8", "10.0.0.7", -ERR_CERTIFICATE},
    };
    struct trust *trust = trust_of(&the_mesh()->root);

    for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
        struct pki_cert leaf =
            pki_make(&(struct pki_spec){.subject = "ambitd.mesh.svc", .san = cases[i].san},
                     &the_mesh()->root);
        struct handshake_spec c = {.role = TLS_HOST_CLIENT,
                                   .trust = trust,
                                   .host = cases[i].host,
                                   .alpn = alpn_h2,
                                   .alpn_count = 1};
        struct handshake_spec s = {.role = TLS_HOST_SERVER,
                                   .credential = pki_credential_of(&leaf, &the_mesh()->root),
                                   .alpn = alpn_h2,
                                   .alpn_count = 1};
        struct duel d;
        CHECK_INT(duel_run(&d, &c, &s, 0), 0);
        CHECK_INT(handshake_error(d.client.h), cases[i].error);
        CHECK(cases[i].error < 0 || (both_done(&d) && records_flow(&d)));
        CHECK(d.server.peer.identity == NULL && d.server.peer.subject == NULL);
        duel_stop(&d);
        s.credential = credential_unref(s.credential);
        pki_free(&leaf);
    }
    trust = trust_unref(trust);
    CHECK(trust == NULL);
}

TEST(a_host_server_takes_client_certificates_only_of_its_trust)
{
    struct trust *trust = trust_of(&the_mesh()->root);
    struct pki_cert other = pki_root(PKI_P256);
    struct pki_cert server = pki_make(&(struct pki_spec){.san = "DNS:a"}, &the_mesh()->root);
    struct pki_cert stranger = pki_make(&(struct pki_spec){.san = "DNS:b"}, &other);
    struct handshake_spec c = {.role = TLS_HOST_CLIENT, .trust = trust, .host = "a"};
    struct handshake_spec s = {.role = TLS_HOST_SERVER,
                               .credential = pki_credential_of(&server, &the_mesh()->root),
                               .trust = trust};
    struct duel d;

    CHECK_INT(duel_run(&d, &c, &s, 0), 0); /* none at all */
    CHECK(both_done(&d));
    duel_stop(&d);
    c.credential = the_mesh()->client;
    CHECK_INT(duel_run(&d, &c, &s, 0), 0);
    CHECK(both_done(&d));
    CHECK_STR(d.server.peer.identity, CLIENT);
    duel_stop(&d);
    c.credential = pki_credential_of(&stranger, &other);
    CHECK_INT(duel_run(&d, &c, &s, 0), 0);
    CHECK_INT(handshake_error(d.server.h), -ERR_CERTIFICATE);
    duel_stop(&d);
    c.credential = credential_unref(c.credential);
    s.credential = credential_unref(s.credential);
    trust = trust_unref(trust);
    pki_free(&other);
    pki_free(&server);
    pki_free(&stranger);
}

TEST(what_cannot_be_safe_is_refused_before_the_first_byte)
{
    struct handshake *h = NULL;
    struct handshake_spec c = client_spec();
    static const char *const long_name[] = {"a-very-long-protocol-name"};
    struct pki_cert leaf = pki_make(&(struct pki_spec){.san = "DNS:a"}, &the_mesh()->root);

    c.expect_count = 0;
    CHECK_INT(handshake_new(&h, the_mesh()->ctx, &c, NULL), -ERR_RANGE);
    c = client_spec();
    c.credential = NULL;
    CHECK_INT(handshake_new(&h, the_mesh()->ctx, &c, NULL), -ERR_CERTIFICATE);
    c.credential = pki_credential_of(&leaf, &the_mesh()->root);
    CHECK_INT(handshake_new(&h, the_mesh()->ctx, &c, NULL), -ERR_CERTIFICATE);
    c.credential = credential_unref(c.credential);
    c = client_spec();
    c.alpn = long_name;
    CHECK_INT(handshake_new(&h, the_mesh()->ctx, &c, NULL), -ERR_RANGE);
    struct handshake_spec host = {.role = TLS_HOST_CLIENT, .host = "a"};
    CHECK_INT(handshake_new(&h, the_mesh()->ctx, &host, NULL), -ERR_RANGE);
    struct handshake_spec bare = {.role = TLS_HOST_SERVER};
    CHECK_INT(handshake_new(&h, the_mesh()->ctx, &bare, NULL), -ERR_RANGE);
    CHECK(h == NULL);
    pki_free(&leaf);
}

TEST(endless_input_is_cut_off)
{
    struct handshake_spec s = server_spec();
    struct handshake *h = NULL;
    static uint8_t flood[HANDSHAKE_INPUT_MAX + 1] = {22, 3, 1, 0x40, 0, 1, 0, 0x3f, 0xfc};
    struct diag why;

    CHECK_INT(handshake_new(&h, the_mesh()->ctx, &s, NULL), 0);
    CHECK_INT(handshake_step_blocking(h, flood, sizeof(flood), &why), HANDSHAKE_FAILED);
    CHECK_INT(handshake_error(h), -ERR_TOO_LARGE);
    handshake_free(h);
}

/* A signer of the caller's own: signs by another signer, or refuses. */
struct counting_signer {
    struct signer base;
    struct signer *real;
    int calls;
    int fail;
    int destroyed;
};

static ssize_t counting_sign(struct signer *s, const uint8_t *digest, size_t len,
                             uint8_t out[SIGNER_SIGNATURE_MAX])
{
    struct counting_signer *c = container_of(s, struct counting_signer, base);

    c->calls++;
    return c->fail ? -ERR_UNAVAILABLE : signer_sign_blocking(c->real, digest, len, out);
}

static void counting_destroy(struct signer *s)
{
    container_of(s, struct counting_signer, base)->destroyed++;
}

TEST(private_keys_are_used_through_the_signer_only)
{
    static const struct signer_ops ops = {counting_sign, counting_destroy};
    struct counting_signer signer = {0};
    struct pki_cert leaf =
        pki_make(&(struct pki_spec){.san = "URI:spiffe://cluster.local/ns/shop/sa/server"},
                 &the_mesh()->root);
    struct handshake_spec c = client_spec();
    struct handshake_spec s = server_spec();
    struct duel d;

    CHECK_INT(signer_local_new(&signer.real, slice_of(leaf.key), NULL), 0);
    signer_init(&signer.base, &ops);
    struct credential_source source = {.chain_pem = slice_of(leaf.cert),
                                       .roots_pem = slice_of(the_mesh()->root.cert),
                                       .signer = &signer.base};
    s.credential = NULL;
    CHECK_INT(credential_new(&s.credential, &source, NULL), 0);
    CHECK_INT(duel_run(&d, &c, &s, 0), 0);
    CHECK(both_done(&d));
    CHECK_INT(signer.calls, 1);
    duel_stop(&d);
    signer.fail = 1;
    CHECK_INT(duel_run(&d, &c, &s, 0), 0);
    CHECK_INT(d.server.state, HANDSHAKE_FAILED);
    CHECK_INT(signer.calls, 2);
    duel_stop(&d);
    s.credential = credential_unref(s.credential);
    CHECK_INT(signer.destroyed, 0);
    (void)signer_unref(&signer.base);
    CHECK_INT(signer.destroyed, 1);
    signer.real = signer_unref(signer.real);
    pki_free(&leaf);
}
