/* SPDX-License-Identifier: Apache-2.0 */
#include "ca/authority.h"

#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/str.h"
#include "ca/message.h"
#include "io/file.h"
#include "tls/csr.h"

struct authority {
    struct issuer *issuer;
    char *root_pem;
};

struct root_files {
    char *cert_path;
    char *key_path;
};

static void root_files_release(struct root_files f)
{
    mem_free(f.cert_path);
    mem_free(f.key_path);
}
AUTO_DEFINE(root_files, struct root_files, root_files_release);

static void secret_free(char *text)
{
    if (text) {
        mem_free_secret(text, strlen(text));
    }
}
AUTO_DEFINE(secret, char *, secret_free);

static char *path_of(const char *folder, const char *name)
{
    AUTO(strbuf) struct strbuf path = {0};

    strbuf_printf(&path, "%s/%s", folder, name);
    return strbuf_take(&path);
}

static int make_root(const struct root_files *f, const char *trust_domain, struct diag *why)
{
    int64_t now = clock_wall_s();
    struct cert_root_spec spec = {.organization = trust_domain,
                                  .not_before_s = now - CA_CLOCK_SKEW_S,
                                  .not_after_s = now + (int64_t)CA_ROOT_YEARS * 365 * 86400};
    AUTO(secret) char *key = NULL;
    AUTO(text) char *cert = NULL;

    int r = key_generate(&key, why);
    if (r == 0) {
        r = cert_root_make(&cert, &spec, slice_of(key), why);
    }
    /* The key first: a crash in between leaves no certificate that nobody can sign for. */
    if (r == 0) {
        r = file_write_blocking(f->key_path, key, strlen(key), 0600, why);
    }
    if (r == 0) {
        r = file_write_blocking(f->cert_path, cert, strlen(cert), 0600, why);
    }
    return r;
}

static int read_root(struct authority *a, const struct root_files *f, struct diag *why)
{
    AUTO(secret) char *key = NULL;
    int r = file_read_blocking(f->key_path, &key, NULL, why);

    if (r == 0) {
        r = file_read_blocking(f->cert_path, &a->root_pem, NULL, why);
    }
    if (r == 0) {
        r = issuer_new(&a->issuer, slice_of(a->root_pem), slice_of(key), why);
    }
    return r;
}

int authority_open_blocking(struct authority **out, const char *folder, const char *trust_domain,
                            struct diag *why)
{
    AUTO(root_files)
    struct root_files f = {.cert_path = path_of(folder, "ca-cert.pem"),
                           .key_path = path_of(folder, "ca-key.pem")};
    AUTO(authority) struct authority *a = mem_new(struct authority);
    bool has_cert = file_exists_blocking(f.cert_path);
    bool has_key = file_exists_blocking(f.key_path);
    int r = 0;

    if (has_cert && !has_key) {
        return FAIL(why, -ERR_NOT_FOUND, "%s is there but its key %s is not", f.cert_path,
                    f.key_path);
    }
    if (!has_cert) { /* a key alone is what a crash while making a root leaves */
        r = make_root(&f, trust_domain, why);
    }
    if (r == 0) {
        r = read_root(a, &f, why);
    }
    if (r < 0) {
        return r;
    }
    *out = MOVE(a);
    return 0;
}

void authority_free(struct authority *a)
{
    if (a) {
        issuer_free(a->issuer);
        mem_free(a->root_pem);
        mem_free(a);
    }
}

const char *authority_root_pem(const struct authority *a)
{
    return a->root_pem;
}

const struct cert_facts *authority_facts(const struct authority *a)
{
    return issuer_facts(a->issuer);
}

static struct cert_leaf_spec leaf_lasting(int64_t ttl_s)
{
    int64_t now = clock_wall_s();

    return (struct cert_leaf_spec){.not_before_s = now - CA_CLOCK_SKEW_S,
                                   .not_after_s = now + ttl_s};
}

int authority_issue_server(const struct authority *a, const char *const *names, unsigned count,
                           char **out_chain_pem, char **out_key_pem, struct diag *why)
{
    struct cert_leaf_spec spec = leaf_lasting(365 * 86400);
    AUTO(text) char *request = NULL;
    AUTO(secret) char *key = NULL;
    AUTO(csr) struct csr *csr = NULL;
    /* The name in the request is not used: issuing takes names from the spec alone. */
    int r = csr_make("spiffe://control-plane/ns/x/sa/x", &request, &key, why);

    if (r == 0) {
        r = csr_parse(&csr, slice_of(request), why);
    }
    spec.dns_names = names;
    spec.dns_count = count;
    if (r == 0) {
        r = issuer_issue(a->issuer, csr, &spec, out_chain_pem, why);
    }
    if (r == 0) {
        *out_key_pem = MOVE(key);
    }
    return r;
}

int authority_sign(const struct authority *a, const char *csr_pem, const struct identity *identity,
                   int64_t ttl_s, struct bytes *out, struct diag *why)
{
    AUTO(csr) struct csr *csr = NULL;
    AUTO(text) char *leaf = NULL;

    if (ttl_s < 0 || ttl_s > CA_LEAF_MAX_S) {
        return FAIL(why, -ERR_RANGE, "validity_duration %lld s: at most %d", (long long)ttl_s,
                    CA_LEAF_MAX_S);
    }
    struct cert_leaf_spec spec = leaf_lasting(ttl_s > 0 ? ttl_s : CA_LEAF_DEFAULT_S);
    spec.identity = identity->uri;
    int r = csr_parse(&csr, slice_of(csr_pem), why);
    if (r == 0) {
        r = issuer_issue(a->issuer, csr, &spec, &leaf, why);
    }
    if (r < 0) {
        return r;
    }
    const char *chain[] = {leaf, a->root_pem};
    r = cert_response_pack(out, chain, 2);
    return r < 0 ? FAIL(why, r, "the response is too large") : 0;
}
