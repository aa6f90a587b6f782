/* SPDX-License-Identifier: Apache-2.0 */
#include "tls/handshake.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/num.h"
#include "duel.h"
#include "t.h"

static const char *const alpn_h2[] = {"h2"};

TEST(two_workloads_prove_who_they_are)
{
    struct handshake_spec c = duel_client();
    struct handshake_spec s = duel_server();
    struct duel d;

    CHECK_INT(duel_run(&d, &c, &s, 0), 0);
    CHECK(duel_done(&d));
    CHECK_STR(d.client.peer.identity, DUEL_SERVER);
    CHECK_STR(d.server.peer.identity, DUEL_CLIENT);
    CHECK_STR(d.client.peer.alpn, "h2");
    CHECK_STR(d.server.peer.alpn, "h2");
    CHECK_STR(d.client.peer.suite, "TLS_AES_256_GCM_SHA384");
    CHECK(duel_flows(&d));
    duel_stop(&d);
}

TEST(input_may_come_in_small_pieces)
{
    struct handshake_spec c = duel_client();
    struct handshake_spec s = duel_server();
    struct duel d;

    CHECK_INT(duel_run(&d, &c, &s, 50), 0);
    CHECK(duel_done(&d));
    CHECK(duel_flows(&d));
    duel_stop(&d);
}

TEST(a_trickle_of_single_bytes_is_cut_off)
{
    struct handshake_spec c = duel_client();
    struct handshake_spec s = duel_server();
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
        struct handshake_spec c = duel_client();
        struct handshake_spec s = duel_server();
        struct duel d;
        c.alpn = cases[i].client;
        c.alpn_count = cases[i].client_count;
        s.alpn = cases[i].server;
        s.alpn_count = cases[i].server_count;
        CHECK_INT(duel_run(&d, &c, &s, 0), 0);
        CHECK_INT(duel_done(&d), cases[i].result != NULL);
        if (cases[i].result) {
            CHECK_STR(d.client.peer.alpn, cases[i].result);
            CHECK_STR(d.server.peer.alpn, cases[i].result);
        } else {
            CHECK_STR(d.client.why.text, "peer sent TLS alert 120 (no application protocol)");
        }
        duel_stop(&d);
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
    struct handshake_spec c = duel_client();
    struct handshake_spec s = duel_server();
    struct duel d;

    strbuf_puts(&chain, leaf.cert);
    strbuf_puts(&chain, middle.cert);
    struct pki_cert whole = {strbuf_take(&chain), leaf.key};
    s.credential = pki_credential_of(&whole, &root);
    c.credential = pki_credential_of(&leaf2, &root);
    CHECK_INT(credential_chain_count(s.credential), 2);
    CHECK_INT(duel_run(&d, &c, &s, 0), 0);
    CHECK(duel_done(&d));
    CHECK(duel_flows(&d));
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

TEST(any_of_the_expected_names_will_do)
{
    static const char *const many[] = {"spiffe://cluster.local/ns/shop/sa/a", DUEL_SERVER};
    struct handshake_spec c = duel_client();
    struct handshake_spec s = duel_server();
    struct duel d;

    c.expect = many;
    c.expect_count = 2;
    CHECK_INT(duel_run(&d, &c, &s, 0), 0);
    CHECK(duel_done(&d));
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
    struct handshake_spec c = duel_client();
    struct handshake_spec s = duel_server();
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
        CHECK(cases[i].error < 0 || (duel_done(&d) && duel_flows(&d)));
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
    CHECK(duel_done(&d));
    duel_stop(&d);
    c.credential = the_mesh()->client;
    CHECK_INT(duel_run(&d, &c, &s, 0), 0);
    CHECK(duel_done(&d));
    CHECK_STR(d.server.peer.identity, DUEL_CLIENT);
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
    struct handshake_spec c = duel_client();
    static const char *const long_name[] = {"a-very-long-protocol-name"};
    struct pki_cert leaf = pki_make(&(struct pki_spec){.san = "DNS:a"}, &the_mesh()->root);

    c.expect_count = 0;
    CHECK_INT(handshake_new(&h, the_mesh()->ctx, &c, NULL), -ERR_RANGE);
    c = duel_client();
    c.credential = NULL;
    CHECK_INT(handshake_new(&h, the_mesh()->ctx, &c, NULL), -ERR_CERTIFICATE);
    c.credential = pki_credential_of(&leaf, &the_mesh()->root);
    CHECK_INT(handshake_new(&h, the_mesh()->ctx, &c, NULL), -ERR_CERTIFICATE);
    c.credential = credential_unref(c.credential);
    c = duel_client();
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
    struct handshake_spec s = duel_server();
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
    struct handshake_spec c = duel_client();
    struct handshake_spec s = duel_server();
    struct duel d;

    CHECK_INT(signer_local_new(&signer.real, slice_of(leaf.key), NULL), 0);
    signer_init(&signer.base, &ops);
    struct credential_source source = {.chain_pem = slice_of(leaf.cert),
                                       .roots_pem = slice_of(the_mesh()->root.cert),
                                       .signer = &signer.base};
    s.credential = NULL;
    CHECK_INT(credential_new(&s.credential, &source, NULL), 0);
    CHECK_INT(duel_run(&d, &c, &s, 0), 0);
    CHECK(duel_done(&d));
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
