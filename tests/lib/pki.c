/* SPDX-License-Identifier: Apache-2.0 */
#include "pki.h"

#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/rand.h"

static void need(bool ok, const char *what)
{
    if (!ok) {
        printf("Bail out! test certificates: %s\n", what);
        exit(EXIT_FAILURE);
    }
}

static EVP_PKEY *make_key(enum pki_key kind)
{
    EVP_PKEY *k = NULL;

    switch (kind) {
    case PKI_P256:
        k = EVP_EC_gen("P-256");
        break;
    case PKI_P384:
        k = EVP_EC_gen("P-384");
        break;
    case PKI_RSA:
        k = EVP_RSA_gen(2048);
        break;
    case PKI_ED25519:
        k = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
        break;
    }
    need(k != NULL, "key");
    return k;
}

static char *take(BIO *b)
{
    char *p = NULL;
    long len = BIO_get_mem_data(b, &p);
    char *text = mem_dup(p, (size_t)len);

    BIO_free(b);
    return text;
}

static EVP_PKEY *read_key(const char *pem)
{
    BIO *b = BIO_new_mem_buf(pem, -1);
    EVP_PKEY *k = PEM_read_bio_PrivateKey(b, NULL, NULL, NULL);

    BIO_free(b);
    need(k != NULL, "read a key");
    return k;
}

static X509 *read_cert(const char *pem)
{
    BIO *b = BIO_new_mem_buf(pem, -1);
    X509 *x = PEM_read_bio_X509(b, NULL, NULL, NULL);

    BIO_free(b);
    need(x != NULL, "read a certificate");
    return x;
}

static void add(X509 *x, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX ctx;

    X509V3_set_ctx(&ctx, issuer, x, NULL, NULL, 0);
    X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    need(e && X509_add_ext(x, e, -1) == 1, value);
    X509_EXTENSION_free(e);
}

static void add_extensions(X509 *x, X509 *issuer, const struct pki_spec *s)
{
    add(x, issuer, NID_basic_constraints, s->is_ca ? "critical,CA:TRUE" : "critical,CA:FALSE");
    add(x, issuer, NID_key_usage,
        s->is_ca ? "critical,keyCertSign" : "critical,digitalSignature,keyEncipherment");
    if (!s->is_ca && (!s->eku || s->eku[0])) {
        add(x, issuer, NID_ext_key_usage, s->eku ? s->eku : "serverAuth,clientAuth");
    }
    if (s->san) {
        add(x, issuer, NID_subject_alt_name, s->san);
    }
}

static void set_subject(X509 *x, const char *organization)
{
    X509_NAME *n = X509_get_subject_name(x);

    if (organization) {
        need(X509_NAME_add_entry_by_txt(n, "O", MBSTRING_ASC, (const unsigned char *)organization,
                                        -1, -1, 0) == 1,
             "subject");
    }
}

static void fill(X509 *x, EVP_PKEY *key, const struct pki_spec *s)
{
    bool usual = s->from_s == 0 && s->to_s == 0;

    need(X509_set_version(x, 2) == 1 && X509_set_pubkey(x, key) == 1, "basics");
    need(ASN1_INTEGER_set_uint64(X509_get_serialNumber(x), rand_u64() >> 1) == 1, "serial");
    need(X509_gmtime_adj(X509_getm_notBefore(x), usual ? -60 : s->from_s) != NULL, "notBefore");
    need(X509_gmtime_adj(X509_getm_notAfter(x), usual ? 3600 : s->to_s) != NULL, "notAfter");
    set_subject(x, s->subject);
}

static struct pki_cert write_both(X509 *x, EVP_PKEY *key)
{
    BIO *cert = BIO_new(BIO_s_mem());
    BIO *secret = BIO_new(BIO_s_mem());

    need(PEM_write_bio_X509(cert, x) == 1 &&
             PEM_write_bio_PKCS8PrivateKey(secret, key, NULL, NULL, 0, NULL, NULL) == 1,
         "write");
    return (struct pki_cert){take(cert), take(secret)};
}

struct pki_cert pki_make(const struct pki_spec *spec, const struct pki_cert *issuer)
{
    EVP_PKEY *key = make_key(spec->key);
    X509 *x = X509_new();
    X509 *by = issuer ? read_cert(issuer->cert) : x;
    EVP_PKEY *by_key = issuer ? read_key(issuer->key) : key;

    fill(x, key, spec);
    need(X509_set_issuer_name(x, X509_get_subject_name(by)) == 1, "issuer");
    add_extensions(x, by, spec);
    const EVP_MD *md = EVP_PKEY_is_a(by_key, "ED25519") ? NULL : EVP_sha256();
    need(X509_sign(x, by_key, md) > 0, "sign");
    struct pki_cert out = write_both(x, key);
    if (issuer) {
        X509_free(by);
        EVP_PKEY_free(by_key);
    }
    X509_free(x);
    EVP_PKEY_free(key);
    return out;
}

void pki_free(struct pki_cert *c)
{
    mem_free(c->cert);
    mem_free(c->key);
    *c = (struct pki_cert){0};
}

struct pki_cert pki_root(enum pki_key key)
{
    return pki_make(&(struct pki_spec){.key = key, .subject = "cluster.local", .is_ca = true},
                    NULL);
}

struct credential *pki_credential_of(const struct pki_cert *leaf, const struct pki_cert *root)
{
    struct credential_source source = {.chain_pem = slice_of(leaf->cert),
                                       .key_pem = slice_of(leaf->key),
                                       .roots_pem = slice_of(root->cert)};
    struct credential *c = NULL;
    struct diag why = {0};

    if (credential_new(&c, &source, &why) < 0) {
        need(false, why.text);
    }
    return c;
}

struct credential *pki_credential(const struct pki_cert *root, const char *account)
{
    char san[256];

    (void)snprintf(san, sizeof(san), "URI:spiffe://cluster.local/ns/shop/sa/%s", account);
    struct pki_cert leaf = pki_make(&(struct pki_spec){.san = san}, root);
    struct credential *c = pki_credential_of(&leaf, root);
    pki_free(&leaf);
    return c;
}

static struct credential *mesh_server;
static struct credential *mesh_client;

__attribute__((destructor)) static void free_mesh(void)
{
    mesh_server = credential_unref(mesh_server);
    mesh_client = credential_unref(mesh_client);
}

struct handshake_spec pki_handshake(bool client)
{
    static const char *const expect[] = {"spiffe://cluster.local/ns/shop/sa/server"};

    if (!mesh_server) {
        struct pki_cert root = pki_root(PKI_P256);
        mesh_server = pki_credential(&root, "server");
        mesh_client = pki_credential(&root, "client");
        pki_free(&root);
    }
    return (struct handshake_spec){.role = client ? TLS_MESH_CLIENT : TLS_MESH_SERVER,
                                   .credential = client ? mesh_client : mesh_server,
                                   .expect = expect,
                                   .expect_count = client};
}
