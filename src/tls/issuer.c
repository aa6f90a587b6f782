/* SPDX-License-Identifier: Apache-2.0 */
/* Certificate issuing: roots and leaves, in the shapes that Istio's CA gives them. */

#include "base/mem.h"
#include "base/num.h"
#include "base/rand.h"
#include "tls/csr.h"
#include "tls/ossl_int.h"
#include "tls/x509.h"

struct issuer {
    X509 *cert;
    EVP_PKEY *key;
    struct cert_facts facts;
};

enum { SERIAL_BYTES = 16 };

/* RFC 5280 4.2.1.3: bit 0 is the most significant. */
enum { USE_DIGITAL_SIGNATURE = 0, USE_KEY_ENCIPHERMENT = 2, USE_KEY_CERT_SIGN = 5 };

static bool add_ext(X509 *x, int nid, void *value, bool critical)
{
    return X509_add1_ext_i2d(x, nid, value, critical, X509V3_ADD_APPEND) == 1;
}

static bool add_key_usage(X509 *x, int first, int second)
{
    ASN1_BIT_STRING *bits = ASN1_BIT_STRING_new();
    bool ok = bits && ASN1_BIT_STRING_set_bit(bits, first, 1) == 1 &&
              ASN1_BIT_STRING_set_bit(bits, second, 1) == 1 &&
              add_ext(x, NID_key_usage, bits, true);

    ASN1_BIT_STRING_free(bits);
    return ok;
}

static bool add_extended_usage(X509 *x)
{
    EXTENDED_KEY_USAGE *uses = EXTENDED_KEY_USAGE_new();
    bool ok = uses && sk_ASN1_OBJECT_push(uses, OBJ_nid2obj(NID_server_auth)) > 0 &&
              sk_ASN1_OBJECT_push(uses, OBJ_nid2obj(NID_client_auth)) > 0 &&
              add_ext(x, NID_ext_key_usage, uses, false);

    EXTENDED_KEY_USAGE_free(uses); /* the two objects are the library's constants */
    return ok;
}

static bool add_constraints(X509 *x, bool is_ca)
{
    BASIC_CONSTRAINTS *c = BASIC_CONSTRAINTS_new();
    bool ok = c != NULL;

    if (ok) {
        c->ca = is_ca ? 0xff : 0;
        ok = add_ext(x, NID_basic_constraints, c, true);
    }
    BASIC_CONSTRAINTS_free(c);
    return ok;
}

/* RFC 5280 4.2.1.2, method 1: SHA-1 over the public key names it. */
static bool add_subject_key_id(X509 *x)
{
    uint8_t hash[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    ASN1_OCTET_STRING *id = ASN1_OCTET_STRING_new();
    bool ok = id && X509_pubkey_digest(x, EVP_sha1(), hash, &len) == 1 &&
              ASN1_OCTET_STRING_set(id, hash, (int)len) == 1 &&
              add_ext(x, NID_subject_key_identifier, id, false);

    ASN1_OCTET_STRING_free(id);
    return ok;
}

/* A signer without a subject key id cannot be named this way, and need not be. */
static bool add_authority_key_id(X509 *x, X509 *signer)
{
    const ASN1_OCTET_STRING *id = X509_get0_subject_key_id(signer);
    AUTHORITY_KEYID *a = id ? AUTHORITY_KEYID_new() : NULL;

    if (!id) {
        return true;
    }
    if (a) {
        a->keyid = ASN1_OCTET_STRING_dup(id);
    }
    bool ok = a && a->keyid && add_ext(x, NID_authority_key_identifier, a, false);
    AUTHORITY_KEYID_free(a);
    return ok;
}

static bool set_serial(X509 *x)
{
    uint8_t bytes[SERIAL_BYTES];

    rand_bytes(bytes, sizeof(bytes));
    bytes[0] = (uint8_t)((bytes[0] & 0x3f) | 0x40); /* positive and always of full length */
    BIGNUM *n = BN_bin2bn(bytes, sizeof(bytes), NULL);
    bool ok = n && BN_to_ASN1_INTEGER(n, X509_get_serialNumber(x));
    BN_free(n);
    return ok;
}

static bool set_basics(X509 *x, EVP_PKEY *key, int64_t not_before_s, int64_t not_after_s)
{
    return X509_set_version(x, 2) == 1 && set_serial(x) &&
           ASN1_TIME_set(X509_getm_notBefore(x), not_before_s) &&
           ASN1_TIME_set(X509_getm_notAfter(x), not_after_s) && X509_set_pubkey(x, key) == 1;
}

static bool set_root_name(X509 *x, const char *organization)
{
    X509_NAME *n = X509_get_subject_name(x);

    return X509_NAME_add_entry_by_NID(n, NID_organizationName, MBSTRING_UTF8,
                                      (const unsigned char *)organization, -1, -1, 0) == 1 &&
           X509_set_issuer_name(x, n) == 1;
}

int cert_root_make(char **out_pem, const struct cert_root_spec *spec, struct slice key_pem,
                   struct diag *why)
{
    AUTO(ossl_cert) X509 *x = X509_new();
    AUTO(ossl_key) EVP_PKEY *key = NULL;
    int r = pem_read_key(&key, key_pem, why);

    if (r < 0) {
        return r;
    }
    bool ok = x && set_basics(x, key, spec->not_before_s, spec->not_after_s) &&
              set_root_name(x, spec->organization) &&
              add_key_usage(x, USE_KEY_CERT_SIGN, USE_KEY_CERT_SIGN) && add_constraints(x, true) &&
              add_subject_key_id(x) && X509_sign(x, key, key_digest(key)) > 0;
    char *pem = ok ? pem_write_cert(x) : NULL;
    if (!pem) {
        return ossl_fail(why, -ERR_TLS, "make a root certificate");
    }
    *out_pem = pem;
    return 0;
}

void issuer_free(struct issuer *i)
{
    if (i) {
        X509_free(i->cert);
        EVP_PKEY_free(i->key);
        cert_facts_fini(&i->facts);
        mem_free(i);
    }
}

const struct cert_facts *issuer_facts(const struct issuer *i)
{
    return &i->facts;
}

static int check_issuer(const struct issuer *i, struct diag *why)
{
    if (X509_check_ca(i->cert) == 0) {
        return FAIL(why, -ERR_CERTIFICATE, "the signing certificate is not a CA");
    }
    if (X509_check_private_key(i->cert, i->key) != 1) {
        return ossl_fail(why, -ERR_CERTIFICATE, "key and signing certificate do not match");
    }
    return 0;
}

int issuer_new(struct issuer **out, struct slice cert_pem, struct slice key_pem, struct diag *why)
{
    AUTO(issuer) struct issuer *i = mem_new(struct issuer);
    AUTO(ossl_certs) STACK_OF(X509) *list = NULL;

    int r = pem_read_certs(&list, cert_pem, CERT_CHAIN_MAX, "a signing certificate", why);
    if (r == 0) {
        i->cert = sk_X509_shift(list);
        r = pem_read_key(&i->key, key_pem, why);
    }
    if (r == 0) {
        r = check_issuer(i, why);
    }
    if (r == 0) {
        r = cert_facts_of(&i->facts, i->cert, why);
    }
    if (r < 0) {
        return r;
    }
    *out = MOVE(i);
    return 0;
}

static int collect_names(GENERAL_NAMES *names, const struct cert_leaf_spec *spec)
{
    int r = spec->identity ? names_add_uri(names, spec->identity) : 0;

    for (unsigned n = 0; r == 0 && n < spec->dns_count; n++) {
        r = names_add_host(names, spec->dns_names[n]);
    }
    return r == 0 && sk_GENERAL_NAME_num(names) == 0 ? -ERR_RANGE : r;
}

static bool fill_leaf(X509 *x, const struct issuer *i, GENERAL_NAMES *names)
{
    /* The subject is empty, so the names are critical (RFC 5280 4.2.1.6). */
    return X509_set_issuer_name(x, X509_get_subject_name(i->cert)) == 1 &&
           add_key_usage(x, USE_DIGITAL_SIGNATURE, USE_KEY_ENCIPHERMENT) && add_extended_usage(x) &&
           add_constraints(x, false) && add_authority_key_id(x, i->cert) &&
           add_ext(x, NID_subject_alt_name, names, true) &&
           X509_sign(x, i->key, key_digest(i->key)) > 0;
}

int issuer_issue(const struct issuer *i, const struct csr *csr, const struct cert_leaf_spec *spec,
                 char **out_pem, struct diag *why)
{
    AUTO(ossl_cert) X509 *x = X509_new();
    AUTO(ossl_names) GENERAL_NAMES *names = GENERAL_NAMES_new();
    int64_t end = MIN_OF(spec->not_after_s, i->facts.not_after_s);

    int r = x && names ? collect_names(names, spec) : -ENOMEM;
    if (r < 0) {
        return FAIL(why, r, "issue a certificate: unusable name");
    }
    if (end <= spec->not_before_s) {
        return FAIL(why, -ERR_RANGE, "issue a certificate that ends before it begins");
    }
    bool ok = set_basics(x, csr_key(csr), spec->not_before_s, end) && fill_leaf(x, i, names);
    char *pem = ok ? pem_write_cert(x) : NULL;
    if (!pem) {
        return ossl_fail(why, -ERR_TLS, "issue a certificate");
    }
    *out_pem = pem;
    return 0;
}
