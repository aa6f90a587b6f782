/* SPDX-License-Identifier: Apache-2.0 */
#include "control/server_cert.h"

#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "control/settings.h"

static struct log_scope scope = LOG_SCOPE("server");

struct server_cert {
    struct task task;
    struct timer timer;
    const struct authority *authority;
    struct handshake_spec spec;
    char *names[SERVER_CERT_NAMES_MAX];
    unsigned name_count;
};

static const char *const alpn[] = {"h2", "http/1.1"};

static void add_name(struct server_cert *c, const char *text)
{
    if (c->name_count < SERVER_CERT_NAMES_MAX) {
        c->names[c->name_count++] = mem_strdup(text);
    }
}

/* The names under which node proxies know a control plane (contract 5.1), and those of a host. */
static void add_names(struct server_cert *c, const char *ns)
{
    static const char *const services[] = {"istiod", "istio-pilot", "istiod-remote"};
    static const char *const hosts[] = {"localhost", "127.0.0.1", "::1", "kubernetes.default.svc",
                                        "ambitd"};

    for (size_t i = 0; i < ARRAY_LEN(services); i++) {
        AUTO(strbuf) struct strbuf name = {0};
        strbuf_printf(&name, "%s.%s.svc", services[i], ns);
        add_name(c, strbuf_text(&name));
    }
    for (size_t i = 0; i < ARRAY_LEN(hosts); i++) {
        add_name(c, hosts[i]);
    }
}

/* The host of "host:port", "[address]:port" or "host", unless it stands for all addresses. */
static void add_host(struct server_cert *c, const char *text)
{
    AUTO(text) char *host = NULL;
    char buf[IP_TEXT];
    struct endpoint at;
    struct ip ip;
    const char *colon = text ? strrchr(text, ':') : NULL;

    if (!text) {
        return;
    }
    if (endpoint_parse(&at, text, strlen(text)) == 0) {
        ip = at.ip;
    } else if (ip_parse(&ip, text, strlen(text)) < 0) {
        host = colon ? mem_dup(text, (size_t)(colon - text)) : mem_strdup(text);
        add_name(c, host);
        return;
    }
    if (!ip_is_unspecified(&ip)) {
        add_name(c, ip_format(&ip, buf));
    }
}

static void add_own(struct server_cert *c, const struct settings *s)
{
    const char *const places[] = {s->listen, *s->pod_listen ? s->pod_listen : NULL, s->api_listen,
                                  s->advertise};

    for (size_t i = 0; i < ARRAY_LEN(places); i++) {
        add_host(c, places[i]);
    }
    for (unsigned i = 0; i < s->names.count; i++) {
        add_name(c, s->names.at[i]);
    }
}

static int issue(struct server_cert *c, struct diag *why)
{
    AUTO(text) char *chain = NULL;
    char *key = NULL;
    struct credential *fresh = NULL;
    const char *root = authority_root_pem(c->authority);
    int r = authority_issue_server(c->authority, (const char *const *)c->names, c->name_count,
                                   &chain, &key, why);

    if (r == 0) {
        struct credential_source source = {
            .chain_pem = slice_of(chain), .roots_pem = slice_of(root), .key_pem = slice_of(key)};
        r = credential_new(&fresh, &source, why);
        mem_free_secret(key, strlen(key));
    }
    if (r == 0) {
        credential_unref(c->spec.credential);
        c->spec.credential = fresh;
    }
    return r;
}

static void run(struct task *t, unsigned why)
{
    struct server_cert *c = container_of(t, struct server_cert, task);
    struct diag reason = {0};

    if (!(why & WAKE_TIMER)) {
        return;
    }
    if (issue(c, &reason) < 0) {
        log_error(&scope, "our own certificate was not renewed", F_DIAG(&reason));
    }
    timer_set(&c->timer, t, SERVER_CERT_RENEW_MS);
}

int server_cert_new(struct server_cert **out, struct loop *l, const struct authority *authority,
                    const struct settings *settings, struct diag *why)
{
    AUTO(server_cert) struct server_cert *c = mem_new(struct server_cert);

    c->authority = authority;
    c->spec = (struct handshake_spec){
        .role = TLS_HOST_SERVER, .alpn = alpn, .alpn_count = ARRAY_LEN(alpn)};
    task_init(&c->task, l, "server certificate", run);
    add_names(c, settings->mesh_namespace);
    add_own(c, settings);
    int r = issue(c, why);
    if (r < 0) {
        return r;
    }
    timer_set(&c->timer, &c->task, SERVER_CERT_RENEW_MS);
    *out = MOVE(c);
    return 0;
}

void server_cert_free(struct server_cert *c)
{
    if (!c) {
        return;
    }
    timer_clear(&c->timer);
    task_fini(&c->task);
    credential_unref(c->spec.credential);
    for (unsigned i = 0; i < c->name_count; i++) {
        mem_free(c->names[i]);
    }
    mem_free(c);
}

struct handshake_spec *server_cert_spec(struct server_cert *c)
{
    return &c->spec;
}
