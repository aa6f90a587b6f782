/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzz: certificates and the SPIFFE names in them, and certificate requests. The input is DER; it is
 * given as PEM. Oracle: facts that were read are consistent, and reading the certificate that they
 * carry gives the same facts again.
 */
#include <assert.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "model/identity.h"
#include "tls/csr.h"
#include "tls/x509.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char *to_pem(const char *label, const uint8_t *der, size_t size)
{
    struct strbuf b = {0};
    uint8_t line[65];

    strbuf_printf(&b, "-----BEGIN %s-----\n", label);
    for (size_t at = 0; at < size; at += 48) {
        int n = EVP_EncodeBlock(line, der + at, size - at < 48 ? (int)(size - at) : 48);
        strbuf_add(&b, line, (size_t)n);
        strbuf_putc(&b, '\n');
    }
    strbuf_printf(&b, "-----END %s-----\n", label);
    return strbuf_take(&b);
}

static bool same(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) == 0 : a == b;
}

static void check_facts(struct cert_facts *f)
{
    struct cert_facts again;

    if (f->identity) {
        AUTO(identity) const struct identity *id = NULL;
        assert(identity_parse(&id, f->identity, strlen(f->identity), NULL) == 0);
        assert(f->spiffe_count >= 1);
    }
    assert(f->serial && f->serial_hex && f->pem);
    assert(cert_facts_parse(&again, slice_of(f->pem), NULL) == 0);
    assert(same(f->identity, again.identity) && same(f->serial, again.serial));
    assert(f->not_after_s == again.not_after_s && f->spiffe_count == again.spiffe_count);
    cert_facts_fini(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cert_facts facts;
    struct csr *csr = NULL;

    if (size > 8192) {
        return 0;
    }
    AUTO(text) char *cert = to_pem("CERTIFICATE", data, size);
    AUTO(text) char *request = to_pem("CERTIFICATE REQUEST", data, size);
    if (cert_facts_parse(&facts, slice_of(cert), NULL) == 0) {
        check_facts(&facts);
        cert_facts_fini(&facts);
    }
    if (csr_parse(&csr, slice_of(request), NULL) == 0) {
        csr_free(csr);
    }
    return 0;
}
