/* SPDX-License-Identifier: Apache-2.0 */
#include "ca/message.h"

#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "ca.pb-c.h"

enum { CHAIN_MAX = 32 };

static const char impersonated[] = "ImpersonatedIdentity";
static const char pem_end[] = "-----END CERTIFICATE-----";

/* protobuf-c has no const strings, but packing only reads them. */
static char *text_of(const char *s)
{
    return (char *)(uintptr_t)s;
}

static int pack(struct bytes *out, const ProtobufCMessage *m)
{
    size_t len = protobuf_c_message_get_packed_size(m);
    uint8_t *to = bytes_reserve(out, len);

    if (!to) {
        return -ERR_TOO_LARGE;
    }
    bytes_commit(out, protobuf_c_message_pack(m, to));
    return 0;
}

int cert_request_pack(struct bytes *out, const char *csr_pem, int64_t ttl_s,
                      const char *impersonate)
{
    Ca__CreateCertificateRequest m;
    Wire__Struct metadata;
    Wire__Struct__FieldsEntry entry;
    Wire__Struct__FieldsEntry *entries[] = {&entry};
    Wire__Value value;

    ca__create_certificate_request__init(&m);
    wire__struct__init(&metadata);
    wire__struct__fields_entry__init(&entry);
    wire__value__init(&value);
    m.csr = text_of(csr_pem);
    m.validity_duration = ttl_s;
    if (impersonate) {
        value.kind_case = WIRE__VALUE__KIND_STRING_VALUE;
        value.string_value = text_of(impersonate);
        entry.key = text_of(impersonated);
        entry.value = &value;
        metadata.n_fields = 1;
        metadata.fields = entries;
        m.metadata = &metadata;
    }
    return pack(out, &m.base);
}

static void request_unpacked_free(Ca__CreateCertificateRequest *m)
{
    ca__create_certificate_request__free_unpacked(m, NULL);
}
AUTO_DEFINE(request, Ca__CreateCertificateRequest *, request_unpacked_free);

int cert_request_unpack(struct cert_request *out, const void *message, size_t len, struct diag *why)
{
    AUTO(request)
    Ca__CreateCertificateRequest *m = ca__create_certificate_request__unpack(NULL, len, message);

    if (!m) {
        return FAIL(why, -ERR_SYNTAX, "CreateCertificateRequest does not decode");
    }
    *out = (struct cert_request){.ttl_s = m->validity_duration};
    for (size_t i = 0; m->metadata && i < m->metadata->n_fields; i++) {
        const Wire__Struct__FieldsEntry *e = m->metadata->fields[i];
        if (strcmp(e->key, impersonated) != 0) {
            continue;
        }
        /* A value of another kind counts as absent: the caller then gets its own identity. */
        if (e->value && e->value->kind_case == WIRE__VALUE__KIND_STRING_VALUE) {
            mem_free(out->impersonate);
            out->impersonate = mem_strdup(e->value->string_value);
        }
    }
    out->csr_pem = mem_strdup(m->csr);
    return 0;
}

void cert_request_fini(struct cert_request *r)
{
    mem_free(r->csr_pem);
    mem_free(r->impersonate);
    *r = (struct cert_request){.ttl_s = 0};
}

static void response_unpacked_free(Ca__CreateCertificateResponse *m)
{
    ca__create_certificate_response__free_unpacked(m, NULL);
}
AUTO_DEFINE(response, Ca__CreateCertificateResponse *, response_unpacked_free);

int cert_response_unpack(struct cert_chain_text *out, const void *message, size_t len,
                         struct diag *why)
{
    AUTO(response)
    Ca__CreateCertificateResponse *m = ca__create_certificate_response__unpack(NULL, len, message);
    AUTO(strbuf) struct strbuf chain = {.limit = 1 << 20};

    if (!m) {
        return FAIL(why, -ERR_SYNTAX, "CreateCertificateResponse does not decode");
    }
    if (m->n_cert_chain == 0) {
        return FAIL(why, -ERR_CERTIFICATE, "the CA answered without a certificate");
    }
    if (m->n_cert_chain < 2 || m->n_cert_chain > CHAIN_MAX) {
        return FAIL(why, -ERR_CERTIFICATE,
                    "the CA answered with %zu certificates: no root or too many", m->n_cert_chain);
    }
    for (size_t i = 0; i + 1 < m->n_cert_chain; i++) {
        const char *end = strstr(m->cert_chain[i], pem_end);
        size_t n = end ? (size_t)(end - m->cert_chain[i]) + strlen(pem_end) : 0;
        strbuf_add(&chain, m->cert_chain[i], n);
        strbuf_putc(&chain, '\n');
    }
    out->chain_pem = strbuf_take(&chain);
    out->roots_pem = mem_strdup(m->cert_chain[m->n_cert_chain - 1]);
    return 0;
}

void cert_chain_text_fini(struct cert_chain_text *c)
{
    mem_free(c->chain_pem);
    mem_free(c->roots_pem);
    *c = (struct cert_chain_text){.chain_pem = NULL};
}

int cert_response_pack(struct bytes *out, const char *const *chain, size_t count)
{
    Ca__CreateCertificateResponse m;
    char *texts[CHAIN_MAX];

    ca__create_certificate_response__init(&m);
    if (count > CHAIN_MAX) {
        return -ERR_TOO_LARGE;
    }
    for (size_t i = 0; i < count; i++) {
        texts[i] = text_of(chain[i]);
    }
    m.n_cert_chain = count;
    m.cert_chain = texts;
    return pack(out, &m.base);
}
