/* SPDX-License-Identifier: Apache-2.0 */
#include "tls/x509.h"

#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "pki.h"
#include "t.h"
#include "tls/csr.h"

static const char identity[] = "spiffe://cluster.local/ns/shop/sa/sa41";

/* The structure of a DER text, one "depth:tag:length" a line; contents are looked at separately. */
static void outline(const uint8_t *der, long len, int depth, struct strbuf *out)
{
    while (len > 0) {
        const unsigned char *p = der;
        long n = 0;
        int tag = 0;
        int class = 0;
        int r = ASN1_get_object(&p, &n, &tag, &class, len);
        if (r & 0x80) {
            strbuf_puts(out, "broken\n");
            return;
        }
        /* Signatures and the whole vary by a byte or two with the two integers inside. */
        bool varies = tag == V_ASN1_BIT_STRING || depth == 0;
        strbuf_printf(out, "%d:%d:%d:%ld\n", depth, class, tag, varies && n != 66 ? 0 : n);
        if (r & V_ASN1_CONSTRUCTED) {
            outline(p, n, depth + 1, out);
        }
        len -= (p - der) + n;
        der = p + n;
    }
}

static X509_REQ *read_request(const char *pem)
{
    BIO *b = BIO_new_mem_buf(pem, -1);
    X509_REQ *r = PEM_read_bio_X509_REQ(b, NULL, NULL, NULL);

    BIO_free(b);
    return r;
}

static void outline_request(const char *pem, struct strbuf *out)
{
    X509_REQ *req = read_request(pem);
    unsigned char *der = NULL;
    int len = i2d_X509_REQ(req, &der);

    outline(der, len, 0, out);
    OPENSSL_free(der);
    X509_REQ_free(req);
}

TEST(a_request_has_the_recorded_shape)
{
    AUTO(text) char *pem = NULL;
    AUTO(text) char *key = NULL;
    AUTO(strbuf) struct strbuf mine = {0};
    AUTO(strbuf) struct strbuf theirs = {0};
    char *recorded = test_vector("tls/csr.pem", NULL);

    CHECK_INT(csr_make(identity, &pem, &key, NULL), 0);
    outline_request(pem, &mine);
    outline_request(recorded, &theirs);
    free(recorded);
    CHECK_STR(strbuf_text(&mine), strbuf_text(&theirs));
    CHECK(strstr(key, "BEGIN PRIVATE KEY") != NULL);
}

TEST(a_recorded_request_is_understood_and_a_broken_one_is_not)
{
    char *recorded = test_vector("tls/csr.pem", NULL);
    AUTO(csr) struct csr *c = NULL;
    struct csr *none = NULL;
    struct diag why;

    CHECK_INT(csr_parse(&c, slice_of(recorded), &why), 0);
    CHECK_INT(csr_parse(&none, slice_of("nonsense"), &why), -ERR_SYNTAX);
    CHECK_INT(csr_parse(&none, (struct slice){recorded, strlen(recorded) / 2}, &why), -ERR_SYNTAX);
    /* Another key of the same shape: the signature is not by it. */
    X509_REQ *req = read_request(recorded);
    EVP_PKEY *other = EVP_EC_gen("P-256");
    (void)X509_REQ_set_pubkey(req, other);
    BIO *b = BIO_new(BIO_s_mem());
    (void)PEM_write_bio_X509_REQ(b, req);
    char *p = NULL;
    long len = BIO_get_mem_data(b, &p);
    int r = csr_parse(&none, (struct slice){p, (size_t)len}, &why);
    BIO_free(b);
    EVP_PKEY_free(other);
    X509_REQ_free(req);
    free(recorded);
    CHECK_INT(r, -ERR_CERTIFICATE);
    CHECK(none == NULL);
}

TEST(a_name_that_could_smuggle_is_not_requested)
{
    char *pem = NULL;
    char *key = NULL;

    CHECK_INT(csr_make("", &pem, &key, NULL), -ERR_RANGE);
    CHECK_INT(csr_make("spiffe://a b", &pem, &key, NULL), -ERR_RANGE);
    CHECK_INT(csr_make("spiffe://a\nDNS:b", &pem, &key, NULL), -ERR_RANGE);
    CHECK_INT(csr_make("spiffe://\xc3\xa4", &pem, &key, NULL), -ERR_RANGE);
    CHECK(pem == NULL && key == NULL);
}

struct ca {
    char *cert;
    char *key;
    struct issuer *issuer;
};

static int ca_start(struct ca *ca)
{
    int64_t now = clock_wall_s();
    struct cert_root_spec spec = {"cluster.local", now - 60, now + 3600};
    int r = key_generate(&ca->key, NULL);

    if (r == 0) {
        r = cert_root_make(&ca->cert, &spec, slice_of(ca->key), NULL);
    }
    return r < 0 ? r : issuer_new(&ca->issuer, slice_of(ca->cert), slice_of(ca->key), NULL);
}

static void ca_stop(struct ca *ca)
{
    mem_free(ca->cert);
    mem_free(ca->key);
    issuer_free(ca->issuer);
}

static X509 *read_cert(const char *pem)
{
    BIO *b = BIO_new_mem_buf(pem, -1);
    X509 *x = PEM_read_bio_X509(b, NULL, NULL, NULL);

    BIO_free(b);
    return x;
}

/* "name critical hex" of each extension, as the recordings of Istio's CA have them. */
static void extensions(const X509 *x, struct strbuf *out)
{
    for (int i = 0; i < X509_get_ext_count(x); i++) {
        X509_EXTENSION *e = X509_get_ext(x, i);
        const ASN1_OCTET_STRING *v = X509_EXTENSION_get_data(e);
        int nid = OBJ_obj2nid(X509_EXTENSION_get_object(e));
        strbuf_printf(out, "%s%s", OBJ_nid2sn(nid),
                      X509_EXTENSION_get_critical(e) ? " critical" : "");
        bool varies = nid == NID_authority_key_identifier || nid == NID_subject_key_identifier;
        for (int b = 0; b < ASN1_STRING_length(v) && !varies; b++) {
            strbuf_printf(out, "%s%02x", b == 0 ? " " : "", ASN1_STRING_get0_data(v)[b]);
        }
        strbuf_putc(out, '\n');
    }
}

static int issue(const struct ca *ca, const struct cert_leaf_spec *spec, char **out_pem)
{
    AUTO(text) char *request = NULL;
    AUTO(text) char *key = NULL;
    AUTO(csr) struct csr *csr = NULL;
    /* What the request says of itself must not matter. */
    int r = csr_make("spiffe://evil.local/ns/x/sa/y", &request, &key, NULL);

    if (r == 0) {
        r = csr_parse(&csr, slice_of(request), NULL);
    }
    return r < 0 ? r : issuer_issue(ca->issuer, csr, spec, out_pem, NULL);
}

TEST(an_issued_leaf_looks_like_istios_and_takes_no_name_from_the_request)
{
    struct ca ca = {0};
    AUTO(text) char *leaf = NULL;
    AUTO(strbuf) struct strbuf seen = {0};
    int64_t now = clock_wall_s();
    struct cert_leaf_spec spec = {.identity = "spiffe://cluster.local/ns/cc-a/sa/sa-a",
                                  .not_before_s = now - 120,
                                  .not_after_s = now + 600};
    struct cert_facts facts;

    CHECK_INT(ca_start(&ca), 0);
    CHECK_INT(issue(&ca, &spec, &leaf), 0);
    CHECK_INT(cert_facts_parse(&facts, slice_of(leaf), NULL), 0);
    CHECK_STR(facts.identity, spec.identity);
    CHECK_INT(facts.spiffe_count, 1);
    CHECK_INT(facts.not_before_s, now - 120);
    CHECK_INT(facts.not_after_s, now + 600);
    CHECK_INT(strlen(facts.serial_hex), 32);
    CHECK_STR(facts.pem, leaf);
    cert_facts_fini(&facts);
    X509 *x = read_cert(leaf);
    extensions(x, &seen);
    int subject = X509_NAME_entry_count(X509_get_subject_name(x));
    long version = X509_get_version(x);
    X509_free(x);
    CHECK_STR(strbuf_text(&seen),
              "keyUsage critical 030205a0\n"
              "extendedKeyUsage 301406082b0601050507030106082b06010505070302\n"
              "basicConstraints critical 3000\n"
              "authorityKeyIdentifier\n"
              "subjectAltName critical 302886267370696666653a2f2f636c75737465722e6c6f63616c2f6e732f"
              "63632d612f73612f73612d61\n");
    CHECK_INT(subject, 0);
    CHECK_INT(version, 2);
    ca_stop(&ca);
}

TEST(a_root_looks_like_istios)
{
    struct ca ca = {0};
    AUTO(strbuf) struct strbuf seen = {0};
    char name[64];

    CHECK_INT(ca_start(&ca), 0);
    X509 *x = read_cert(ca.cert);
    extensions(x, &seen);
    (void)X509_NAME_oneline(X509_get_subject_name(x), name, sizeof(name));
    X509_free(x);
    CHECK_STR(strbuf_text(&seen), "keyUsage critical 03020204\n"
                                  "basicConstraints critical 30030101ff\n"
                                  "subjectKeyIdentifier\n");
    CHECK_STR(name, "/O=cluster.local");
    ca_stop(&ca);
}

TEST(a_leaf_never_outlives_its_ca)
{
    struct ca ca = {0};
    AUTO(text) char *leaf = NULL;
    int64_t now = clock_wall_s();
    struct cert_leaf_spec spec = {
        .identity = identity, .not_before_s = now, .not_after_s = now + 1000000};
    struct cert_facts facts;

    CHECK_INT(ca_start(&ca), 0);
    CHECK_INT(issue(&ca, &spec, &leaf), 0);
    CHECK_INT(cert_facts_parse(&facts, slice_of(leaf), NULL), 0);
    int64_t end = facts.not_after_s;
    cert_facts_fini(&facts);
    CHECK_INT(end, issuer_facts(ca.issuer)->not_after_s);
    spec.not_before_s = now + 5000; /* begins after the CA has ended */
    char *none = NULL;
    CHECK_INT(issue(&ca, &spec, &none), -ERR_RANGE);
    spec = (struct cert_leaf_spec){.not_before_s = now, .not_after_s = now + 10};
    CHECK_INT(issue(&ca, &spec, &none), -ERR_RANGE); /* nobody's */
    ca_stop(&ca);
}

TEST(serials_differ)
{
    struct ca ca = {0};
    struct cert_facts one, two;
    AUTO(text) char *a = NULL;
    AUTO(text) char *b = NULL;
    int64_t now = clock_wall_s();
    struct cert_leaf_spec spec = {
        .identity = identity, .not_before_s = now, .not_after_s = now + 9};

    CHECK_INT(ca_start(&ca), 0);
    CHECK_INT(issue(&ca, &spec, &a), 0);
    CHECK_INT(issue(&ca, &spec, &b), 0);
    CHECK_INT(cert_facts_parse(&one, slice_of(a), NULL), 0);
    CHECK_INT(cert_facts_parse(&two, slice_of(b), NULL), 0);
    bool same = strcmp(one.serial, two.serial) == 0;
    cert_facts_fini(&one);
    cert_facts_fini(&two);
    ca_stop(&ca);
    CHECK(!same);
}

TEST(a_ca_wants_a_ca_certificate_and_its_own_key)
{
    struct pki_cert root = pki_root(PKI_RSA);
    struct pki_cert other = pki_root(PKI_P256);
    struct pki_cert leaf = pki_make(&(struct pki_spec){.san = "DNS:a"}, &root);
    struct issuer *i = NULL;

    CHECK_INT(issuer_new(&i, slice_of(root.cert), slice_of(other.key), NULL), -ERR_CERTIFICATE);
    CHECK_INT(issuer_new(&i, slice_of(leaf.cert), slice_of(leaf.key), NULL), -ERR_CERTIFICATE);
    CHECK_INT(issuer_new(&i, slice_of("x"), slice_of(root.key), NULL), -ERR_SYNTAX);
    CHECK_INT(issuer_new(&i, slice_of(root.cert), slice_of(root.cert), NULL), -ERR_SYNTAX);
    CHECK(i == NULL);
    CHECK_INT(issuer_new(&i, slice_of(root.cert), slice_of(root.key), NULL), 0);
    issuer_free(i);
    pki_free(&root);
    pki_free(&other);
    pki_free(&leaf);
}

TEST(weak_keys_are_not_certified)
{
    EVP_PKEY *weak = EVP_RSA_gen(1024);
    X509_REQ *req = X509_REQ_new();
    BIO *b = BIO_new(BIO_s_mem());
    struct csr *none = NULL;
    char *p = NULL;

    (void)X509_REQ_set_pubkey(req, weak);
    (void)X509_REQ_sign(req, weak, EVP_sha256());
    (void)PEM_write_bio_X509_REQ(b, req);
    long len = BIO_get_mem_data(b, &p);
    int r = csr_parse(&none, (struct slice){p, (size_t)len}, NULL);
    BIO_free(b);
    X509_REQ_free(req);
    EVP_PKEY_free(weak);
    CHECK_INT(r, -ERR_CERTIFICATE);
}

TEST(spiffe_names_are_counted)
{
    static const struct {
        const char *san;
        unsigned count;
        const char *first;
    } cases[] = {
        {NULL, 0, NULL},
        {"DNS:a.example,IP:10.0.0.1", 0, NULL},
        {"URI:https://a.example/", 0, NULL},
        {"URI:spiffe://cluster.local/foo", 1, NULL},
        {"URI:spiffe://cluster.local/ns/a/sa/b", 1, "spiffe://cluster.local/ns/a/sa/b"},
        {"URI:https://a/,URI:spiffe://td/ns/a/sa/b,DNS:x", 1, "spiffe://td/ns/a/sa/b"},
        {"URI:spiffe://td/ns/a/sa/b,URI:spiffe://td/ns/a/sa/c", 2, "spiffe://td/ns/a/sa/b"},
        {"URI:spiffe://cluster.local/foo,URI:spiffe://td/ns/a/sa/c", 2, "spiffe://td/ns/a/sa/c"},
        {"URI:SPIFFE://td/ns/a/sa/b,URI:spiffe://td/ns/a/sa/c", 2, "spiffe://td/ns/a/sa/c"},
    };
    struct pki_cert root = pki_root(PKI_P256);

    for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
        struct pki_cert leaf = pki_make(&(struct pki_spec){.san = cases[i].san}, &root);
        struct cert_facts facts;
        int r = cert_facts_parse(&facts, slice_of(leaf.cert), NULL);
        pki_free(&leaf);
        CHECK_INT(r, 0);
        CHECK_INT(facts.spiffe_count, cases[i].count);
        CHECK_STR(facts.identity ? facts.identity : "(none)",
                  cases[i].first ? cases[i].first : "(none)");
        cert_facts_fini(&facts);
    }
    pki_free(&root);
}

TEST(a_credential_is_checked_when_it_is_made)
{
    struct pki_cert root = pki_root(PKI_P256);
    struct pki_cert leaf = pki_make(&(struct pki_spec){.san = "URI:spiffe://td/ns/a/sa/b"}, &root);
    struct pki_cert two = pki_make(
        &(struct pki_spec){.san = "URI:spiffe://td/ns/a/sa/b,URI:spiffe://td/ns/a/sa/c"}, &root);
    struct pki_cert rsa = pki_make(&(struct pki_spec){.key = PKI_RSA}, &root);
    struct slice chain = slice_of(leaf.cert);
    struct slice roots = slice_of(root.cert);
    struct credential *c = NULL;
    struct diag why;

    struct credential_source good = {
        .chain_pem = chain, .key_pem = slice_of(leaf.key), .roots_pem = roots};
    struct credential_source wrong_key = good;
    wrong_key.key_pem = slice_of(two.key);
    CHECK_INT(credential_new(&c, &wrong_key, &why), -ERR_CERTIFICATE);
    struct credential_source no_key = good;
    no_key.key_pem = slice_of("");
    CHECK_INT(credential_new(&c, &no_key, &why), -ERR_SYNTAX);
    struct credential_source no_roots = good;
    no_roots.roots_pem = slice_of("\n");
    CHECK_INT(credential_new(&c, &no_roots, &why), -ERR_SYNTAX);
    struct credential_source no_chain = good;
    no_chain.chain_pem = slice_of("");
    CHECK_INT(credential_new(&c, &no_chain, &why), -ERR_SYNTAX);
    struct credential_source names = {
        .chain_pem = slice_of(two.cert), .key_pem = slice_of(two.key), .roots_pem = roots};
    CHECK_INT(credential_new(&c, &names, &why), -ERR_CERTIFICATE);
    CHECK_STR(why.text, "use a certificate with 2 SPIFFE names");
    struct credential_source not_ec = {
        .chain_pem = slice_of(rsa.cert), .key_pem = slice_of(rsa.key), .roots_pem = roots};
    CHECK_INT(credential_new(&c, &not_ec, &why), -ERR_UNSUPPORTED);
    CHECK(c == NULL);
    CHECK_INT(credential_new(&c, &good, &why), 0);
    CHECK_STR(credential_identity(c), "spiffe://td/ns/a/sa/b");
    CHECK_INT(trust_count(credential_trust(c)), 1);
    CHECK_STR(trust_facts(credential_trust(c), 0)->pem, root.cert);
    c = credential_unref(c);
    pki_free(&root);
    pki_free(&leaf);
    pki_free(&two);
    pki_free(&rsa);
}
