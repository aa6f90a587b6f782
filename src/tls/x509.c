/* SPDX-License-Identifier: Apache-2.0 */
#include "tls/x509.h"

#include <openssl/bn.h>
#include <openssl/ec.h>
#include <string.h>

#include "base/ascii.h"
#include "base/ip.h"
#include "base/mem.h"
#include "model/identity.h"
#include "tls/ossl_int.h"

enum { RSA_BITS_MIN = 2048, SECONDS_A_DAY = 86400 };

void cert_facts_fini(struct cert_facts *f)
{
    mem_free(f->identity);
    mem_free(f->pem);
    mem_free(f->serial);
    mem_free(f->serial_hex);
    *f = (struct cert_facts){0};
}

static void add_uri(struct spiffe_names *n, const ASN1_IA5STRING *uri)
{
    struct slice text = {(const char *)ASN1_STRING_get0_data(uri), (size_t)ASN1_STRING_length(uri)};
    AUTO(identity) const struct identity *id = NULL;

    if (text.len < 9 || strncasecmp(text.p, "spiffe://", 9) != 0) {
        return;
    }
    n->count++;
    if (!n->first && identity_parse(&id, text.p, text.len, NULL) == 0) {
        n->first = mem_strdup(id->uri);
    }
}

int cert_spiffe_names(struct spiffe_names *out, X509 *x)
{
    int found = 0;
    AUTO(ossl_names) GENERAL_NAMES *list = X509_get_ext_d2i(x, NID_subject_alt_name, &found, NULL);
    struct spiffe_names n = {0};

    if (!list && found != -1) { /* -1: there is none */
        return -ERR_CERTIFICATE;
    }
    for (int i = 0; i < sk_GENERAL_NAME_num(list); i++) {
        const GENERAL_NAME *g = sk_GENERAL_NAME_value(list, i);
        if (g->type == GEN_URI) {
            add_uri(&n, g->d.uniformResourceIdentifier);
        }
    }
    *out = n;
    return 0;
}

static char *own_text(char *library_text)
{
    char *mine = library_text ? mem_strdup(library_text) : NULL;

    OPENSSL_free(library_text);
    return mine;
}

/* write turns the number into the library's text. */
static char *serial_text(X509 *x, char *write(const BIGNUM *))
{
    BIGNUM *n = ASN1_INTEGER_to_BN(X509_get0_serialNumber(x), NULL);
    char *text = n ? own_text(write(n)) : NULL;

    BN_free(n);
    return text;
}

char *cert_serial_hex(X509 *x)
{
    char *text = serial_text(x, BN_bn2hex);

    for (char *c = text; c && *c; c++) {
        *c = ascii_lower(*c);
    }
    return text;
}

static int time_of(const ASN1_TIME *t, int64_t *out)
{
    ASN1_TIME *epoch = ASN1_TIME_set(NULL, 0);
    int days = 0;
    int seconds = 0;
    bool ok = epoch && ASN1_TIME_diff(&days, &seconds, epoch, t) == 1;

    ASN1_TIME_free(epoch);
    if (!ok) {
        return -ERR_CERTIFICATE;
    }
    *out = (int64_t)days * SECONDS_A_DAY + seconds;
    return 0;
}

int cert_times(X509 *x, int64_t *not_before_s, int64_t *not_after_s)
{
    int r = time_of(X509_get0_notBefore(x), not_before_s);

    return r < 0 ? r : time_of(X509_get0_notAfter(x), not_after_s);
}

int cert_facts_of(struct cert_facts *out, X509 *x, struct diag *why)
{
    struct cert_facts f = {0};
    struct spiffe_names names = {0};

    int r = cert_spiffe_names(&names, x);
    if (r == 0) {
        r = cert_times(x, &f.not_before_s, &f.not_after_s);
    }
    f.identity = names.first;
    f.spiffe_count = names.count;
    f.pem = pem_write_cert(x);
    f.serial = serial_text(x, BN_bn2dec);
    f.serial_hex = cert_serial_hex(x);
    if (r < 0 || !f.pem || !f.serial || !f.serial_hex) {
        cert_facts_fini(&f);
        return ossl_fail(why, -ERR_CERTIFICATE, "read a certificate");
    }
    *out = f;
    return 0;
}

int cert_facts_parse(struct cert_facts *out, struct slice pem, struct diag *why)
{
    AUTO(ossl_certs) STACK_OF(X509) *list = NULL;
    int r = pem_read_certs(&list, pem, CERT_CHAIN_MAX, "a certificate", why);

    return r < 0 ? r : cert_facts_of(out, sk_X509_value(list, 0), why);
}

int key_generate(char **out_pem, struct diag *why)
{
    AUTO(ossl_key) EVP_PKEY *k = EVP_EC_gen("P-256");
    char *pem = k ? pem_write_key(k) : NULL;

    if (!pem) {
        return ossl_fail(why, -ERR_TLS, "make a key");
    }
    *out_pem = pem;
    return 0;
}

bool key_is_strong(const EVP_PKEY *k)
{
    if (EVP_PKEY_is_a(k, "EC")) {
        return EVP_PKEY_get_security_bits(k) >= 128;
    }
    return EVP_PKEY_is_a(k, "ED25519") ||
           (EVP_PKEY_is_a(k, "RSA") && EVP_PKEY_get_bits(k) >= RSA_BITS_MIN);
}

const EVP_MD *key_digest(const EVP_PKEY *k)
{
    return EVP_PKEY_is_a(k, "ED25519") ? NULL : EVP_sha256();
}

/* Takes value; type says how it is held. */
static int add_name(GENERAL_NAMES *names, int type, void *value)
{
    GENERAL_NAME *g = GENERAL_NAME_new();

    if (!g || !value) {
        GENERAL_NAME_free(g);
        return -ENOMEM;
    }
    GENERAL_NAME_set0_value(g, type, value);
    return sk_GENERAL_NAME_push(names, g) > 0 ? 0 : -ENOMEM;
}

static bool is_ascii_name(const char *s)
{
    size_t len = strlen(s);

    for (size_t i = 0; i < len; i++) {
        if (s[i] <= ' ' || s[i] == 0x7f) {
            return false;
        }
    }
    return len > 0 && len <= IDENTITY_URI_MAX;
}

static ASN1_STRING *string_of(int type, const void *bytes, size_t len)
{
    ASN1_STRING *s = ASN1_STRING_type_new(type);

    if (s && ASN1_STRING_set(s, bytes, (int)len) != 1) {
        ASN1_STRING_free(s);
        s = NULL;
    }
    return s;
}

int names_add_uri(GENERAL_NAMES *names, const char *uri)
{
    return is_ascii_name(uri)
               ? add_name(names, GEN_URI, string_of(V_ASN1_IA5STRING, uri, strlen(uri)))
               : -ERR_RANGE;
}

int names_add_host(GENERAL_NAMES *names, const char *host)
{
    struct ip ip;

    if (!is_ascii_name(host)) {
        return -ERR_RANGE;
    }
    if (ip_parse(&ip, host, strlen(host)) == 0) {
        return add_name(names, GEN_IPADD, string_of(V_ASN1_OCTET_STRING, ip.bytes, ip_size(&ip)));
    }
    return add_name(names, GEN_DNS, string_of(V_ASN1_IA5STRING, host, strlen(host)));
}
