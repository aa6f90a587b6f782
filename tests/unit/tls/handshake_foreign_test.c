/* SPDX-License-Identifier: Apache-2.0 */
/* Our end of a handshake with ends that are not ours. */
#include <stdlib.h>
#include <string.h>

#include "base/num.h"
#include "duel.h"
#include "t.h"
#include "tls/handshake.h"

/* A client whose certificate must not be accepted, and what it is told. */
struct bad_peer {
    const char *what;
    struct pki_spec leaf;
    bool other_root;
    int error;
    int alert;
    const char *text; /* in our error */
};

static const struct bad_peer bad_clients[] = {
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

static void check_refused(struct test *t, const struct bad_peer *b, const struct handshake_spec *s,
                          bool of_client)
{
    struct pki_cert other = pki_root(PKI_P256);
    struct pki_cert leaf = pki_make(&b->leaf, b->other_root ? &other : &the_mesh()->root);
    struct handshake *h = NULL;
    struct foreign f = {0};
    struct diag why = {0};

    printf("# %s\n", b->what);
    CHECK_INT(handshake_new(&h, the_mesh()->ctx, s, NULL), 0);
    foreign_start(&f, &leaf, of_client);
    CHECK_INT(foreign_meet(&f, h, &why), HANDSHAKE_FAILED);
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

TEST(a_client_that_must_not_come_in_is_refused_and_told_why)
{
    struct handshake_spec s = duel_server();

    for (unsigned i = 0; i < ARRAY_LEN(bad_clients) && !t->failed; i++) {
        check_refused(t, &bad_clients[i], &s, true);
    }
}

static const struct bad_peer bad_servers[] = {
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
    struct handshake_spec c = duel_client();

    for (unsigned i = 0; i < ARRAY_LEN(bad_servers) && !t->failed; i++) {
        check_refused(t, &bad_servers[i], &c, false);
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
        struct handshake_spec s = duel_server();
        struct handshake *h = NULL;
        struct foreign f = {0};
        struct diag why = {0};
        struct tls_peer peer;

        CHECK_INT(handshake_new(&h, the_mesh()->ctx, &s, NULL), 0);
        foreign_start(&f, &leaf, true);
        CHECK_INT(foreign_meet(&f, h, &why), HANDSHAKE_DONE);
        handshake_take_peer(h, &peer);
        CHECK_STR(peer.identity, DUEL_CLIENT);
        CHECK_STR(peer.alpn, "");
        tls_peer_fini(&peer);
        foreign_stop(&f);
        handshake_free(h);
        pki_free(&leaf);
    }
}

TEST(a_client_without_certificate_learns_that_one_is_required)
{
    struct handshake_spec s = duel_server();
    struct handshake *h = NULL;
    struct foreign f = {0};
    struct diag why = {0};

    CHECK_INT(handshake_new(&h, the_mesh()->ctx, &s, NULL), 0);
    foreign_start(&f, NULL, true);
    CHECK_INT(foreign_meet(&f, h, &why), HANDSHAKE_FAILED);
    CHECK_INT(foreign_alert(), 116);
    foreign_stop(&f);
    handshake_free(h);
}

TEST(older_versions_and_other_protocols_are_refused_with_the_recorded_alerts)
{
    struct handshake_spec s = duel_server();
    struct handshake *h = NULL;
    struct foreign f = {0};
    struct diag why = {0};
    static const uint8_t decode_error[] = {21, 3, 3, 0, 2, 2, 50};

    CHECK_INT(handshake_new(&h, the_mesh()->ctx, &s, NULL), 0);
    foreign_start(&f, NULL, true);
    (void)SSL_set_max_proto_version(f.ssl, TLS1_2_VERSION);
    CHECK_INT(foreign_meet(&f, h, &why), HANDSHAKE_FAILED);
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
    struct handshake_spec c = duel_client();
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
    struct handshake_spec s = duel_server();
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
        struct handshake_spec s = duel_server();
        struct handshake *h = NULL;
        struct foreign f = {0};
        struct diag why = {0};
        struct tls_peer peer;

        CHECK_INT(handshake_new(&h, the_mesh()->ctx, &s, NULL), 0);
        foreign_start(&f, &leaf, true);
        (void)SSL_set_ciphersuites(f.ssl, cases[i].suites);
        (void)SSL_set1_groups_list(f.ssl, (char *)(uintptr_t)cases[i].groups);
        CHECK_INT(foreign_meet(&f, h, &why), HANDSHAKE_DONE);
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
        struct handshake_spec s = duel_server();
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
        CHECK_INT(foreign_meet(&f, h, &why), HANDSHAKE_FAILED);
        CHECK_INT(foreign_alert(), 40);
        foreign_stop(&f);
        handshake_free(h);
    }
}
