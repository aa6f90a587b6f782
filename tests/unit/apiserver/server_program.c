/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An API server for tests with real clients: TLS on a loopback port that the kernel picks, a store in
 * the directory given, kubeconfig files for an administrator and a node beside it. Says "ready" on
 * its output, ends with its input.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "apiserver/api.h"
#include "apiserver/bootstrap.h"
#include "apiserver/endpoints.h"
#include "apiserver/node_ready.h"
#include "apiserver/serve.h"
#include "apiserver/store.h"
#include "apiserver/store_writer.h"
#include "base/clock.h"
#include "base/mem.h"
#include "codec/base64.h"
#include "io/jobs.h"
#include "io/loop.h"
#include "io/sock.h"
#include "tls/csr.h"
#include "tls/x509.h"

enum { GRACE_MS = 8000 }; /* after which a silent node is no longer ready */

static void give_up(const char *what, const struct diag *why)
{
    fprintf(stderr, "%s: %s\n", what, why->text);
    exit(1);
}

struct identity {
    char *ca_pem;
    struct credential *credential;
};

static void make_identity(struct identity *out)
{
    struct diag why = {0};
    struct issuer *issuer = NULL;
    struct csr *csr = NULL;
    char *ca_key = NULL;
    char *leaf = NULL;
    char *request = NULL;
    char *key = NULL;
    static const char *const names[] = {"127.0.0.1", "localhost"};
    int64_t now = clock_wall_s();
    struct cert_root_spec root = {"test", now - 60, now + 86400};
    struct cert_leaf_spec spec = {
        .dns_names = names, .dns_count = 2, .not_before_s = now - 60, .not_after_s = now + 3600};

    if (key_generate(&ca_key, &why) < 0 ||
        cert_root_make(&out->ca_pem, &root, slice_of(ca_key), &why) < 0 ||
        issuer_new(&issuer, slice_of(out->ca_pem), slice_of(ca_key), &why) < 0 ||
        csr_make("spiffe://test/ns/x/sa/y", &request, &key, &why) < 0 ||
        csr_parse(&csr, slice_of(request), &why) < 0 ||
        issuer_issue(issuer, csr, &spec, &leaf, &why) < 0) {
        give_up("certificates", &why);
    }
    struct credential_source source = {
        .chain_pem = slice_of(leaf), .roots_pem = slice_of(out->ca_pem), .key_pem = slice_of(key)};
    if (credential_new(&out->credential, &source, &why) < 0) {
        give_up("credential", &why);
    }
    issuer_free(issuer);
    csr_free(csr);
    mem_free(ca_key);
    mem_free(leaf);
    mem_free(request);
    mem_free(key);
}

static void write_kubeconfig(const char *dir, const char *name, unsigned port, const char *ca_pem,
                             const char *token)
{
    char path[256];
    AUTO(strbuf) struct strbuf ca = {0};

    base64_encode(&ca, ca_pem, strlen(ca_pem));
    snprintf(path, sizeof(path), "%s/%s.kubeconfig", dir, name);
    FILE *f = fopen(path, "w");
    fprintf(f,
            "apiVersion: v1\nkind: Config\ncurrent-context: c\n"
            "clusters:\n- name: c\n  cluster:\n    server: https://127.0.0.1:%u\n"
            "    certificate-authority-data: %s\n"
            "contexts:\n- name: c\n  context:\n    cluster: c\n    user: u\n"
            "users:\n- name: u\n  user:\n    token: %s\n",
            port, strbuf_text(&ca), token);
    fclose(f);
}

static int listen_somewhere(unsigned *port)
{
    struct diag why = {0};
    struct endpoint at = {0};

    if (endpoint_parse(&at, "127.0.0.1:0", 11) < 0) {
        abort();
    }
    int fd = sock_open(IP_V4, SOCK_TYPE_STREAM, &why);
    if (fd < 0 || sock_bind(fd, &at, &why) < 0 || sock_listen(fd, 64, &why) < 0 ||
        sock_local(fd, &at) < 0) {
        give_up("listen", &why);
    }
    *port = at.port;
    return fd;
}

struct end { /* of the input: the test is over */
    struct task task;
    struct fd_watch watch;
};

static void on_input(struct task *t, unsigned why)
{
    struct end *e = container_of(t, struct end, task);
    char c;
    ssize_t n = read(0, &c, 1);

    (void)why;
    if (n == 0) {
        loop_stop(t->loop);
    } else {
        fd_watch_blocked(&e->watch, FD_READABLE);
    }
}

int main(int argc, char **argv)
{
    struct diag why = {0};
    char path[256];
    unsigned port = 0;
    struct identity id = {0};
    struct store *store = store_new();
    struct store_writer *writer = NULL;
    struct api *api = NULL;
    struct tls_ctx *ctx = NULL;
    struct api_config config = {0};
    static const char *const masters[] = {"system:masters", NULL};
    static const char *const nodes[] = {"system:nodes", NULL};

    snprintf(path, sizeof(path), "%s/store.db", argc > 1 ? argv[1] : ".");
    struct loop *l = loop_new(&why);
    struct jobs *jobs = jobs_new(2, 64, 64, &why);
    if (ip_prefix_parse(&config.service_cidr4, "10.96.0.0/16", 12) < 0 ||
        ip_prefix_parse(&config.service_cidr6, "fd00:96::/112", 13) < 0 ||
        store_writer_open_blocking(path, store, &why, &writer) < 0 ||
        api_new(store, &config, &why, &api) < 0 || tls_ctx_new(&ctx, NULL, &why) < 0) {
        give_up("start", &why);
    }
    make_identity(&id);
    store_writer_start(writer, l, jobs);
    bootstrap(api, clock_wall_s());
    while (store_durable(store) < store_rv(store)) {
        loop_turn(l, 100);
    }
    struct handshake_spec spec = {.role = TLS_HOST_SERVER, .credential = id.credential};
    static const char *const alpn[] = {"h2", "http/1.1"};
    spec.alpn = alpn;
    spec.alpn_count = 2;
    struct tls_loop *tls = tls_loop_new(l, jobs, ctx, NULL);
    struct http_server_options http = {.tls = tls, .spec = &spec};
    struct serve *serve = serve_new(l, api, &http);
    struct endpoints *endpoints = endpoints_new(api, l);
    struct node_ready *ready = node_ready_new(api, l, GRACE_MS);
    if (serve_add_user(serve, &(struct serve_user){.token = "admin-token",
                                                   .name = "admin",
                                                   .groups = masters,
                                                   .is_admin = true}) < 0 ||
        serve_add_user(serve, &(struct serve_user){.token = "node-token",
                                                   .name = "system:node:node-a",
                                                   .groups = nodes,
                                                   .node = "node-a"}) < 0 ||
        serve_listen(serve, listen_somewhere(&port), &why) < 0) {
        give_up("listen", &why);
    }
    write_kubeconfig(argv[1], "admin", port, id.ca_pem, "admin-token");
    write_kubeconfig(argv[1], "node", port, id.ca_pem, "node-token");
    struct end end = {0};
    task_init(&end.task, l, "input", on_input);
    fcntl(0, F_SETFL, O_NONBLOCK);
    if (fd_watch_start(&end.watch, l, &end.task, 0) < 0) {
        give_up("input", &why);
    }
    printf("ready %u\n", port);
    fflush(stdout);
    loop_run(l);
    fd_watch_stop(&end.watch);
    task_fini(&end.task);
    endpoints_free(endpoints);
    node_ready_free(ready);
    serve_free(serve);
    tls_loop_free(tls);
    store_writer_close(writer);
    api_free(api);
    store_free(store);
    jobs_free(jobs);
    loop_turn(l, 0);
    loop_free(l);
    tls_ctx_free(ctx);
    credential_unref(id.credential);
    mem_free(id.ca_pem);
    return 0;
}
