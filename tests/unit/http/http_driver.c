/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For foreign peers (tests/scenario/http):
 *   http_driver serve ROOT.PEM               the application of handler.h in the clear (HTTP/1.1), with
 *                                            prior knowledge (HTTP/2) and over TLS by ALPN; prints the
 *                                            three ports; ends with its standard input
 *   http_driver fetch PORT METHOD PATH [BODY]  one request by our HTTP/2 client
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/num.h"
#include "caller.h"
#include "handler.h"
#include "http/http_server.h"
#include "io/sock.h"
#include "io/tcp_stream.h"
#include "pki.h"
#include "stdin_watch.h"
#include "tcp_pair.h"

struct service {
    struct handler app;
    struct http_server *server;
    struct endpoint at;
};

static int next(void *server, struct exchange **out)
{
    return http_server_next(server, out);
}

static void serve(struct service *s, struct loop *l, const struct http_server_options *o)
{
    struct diag why = {0};

    handler_start(&s->app, l);
    s->server = http_server_new(l, o, &s->app.task);
    if (http_server_listen(s->server, tcp_test_listener(IP_V4, &s->at), &why) < 0) {
        (void)fprintf(stderr, "%s\n", why.text);
        exit(1);
    }
    handler_serve(&s->app, next, s->server);
}

static void unserve(struct service *s)
{
    handler_stop(&s->app);
    http_server_free(s->server);
}

static struct credential *credential_for(const char *root_path)
{
    struct pki_cert root = pki_root(PKI_P256);
    struct pki_cert leaf = pki_make(
        &(struct pki_spec){.san = "DNS:localhost,IP:127.0.0.1", .eku = "serverAuth"}, &root);
    struct credential *c = pki_credential_of(&leaf, &root);
    FILE *f = fopen(root_path, "we");

    if (!f || fputs(root.cert, f) < 0 || fclose(f) != 0) {
        (void)fprintf(stderr, "cannot write %s\n", root_path);
        exit(1);
    }
    pki_free(&leaf);
    pki_free(&root);
    return c;
}

static int serve_all(struct loop *l, const char *root_path)
{
    static const char *const alpn[] = {"h2", "http/1.1"};
    struct h1_limits h1 = {.header_ms = 1000, .write_stall_ms = 2000};
    struct http_server_options o = {.protocol = HTTP_ONLY_H1, .h1 = h1};
    struct handshake_spec spec = {.role = TLS_HOST_SERVER, .alpn = alpn, .alpn_count = 2};
    struct jobs *jobs = jobs_new(1, 100, 100, NULL);
    struct tls_ctx *ctx = NULL;
    static struct service service[3];
    struct stdin_watch end;

    if (tls_ctx_new(&ctx, NULL, NULL) < 0) {
        return 1;
    }
    struct tls_loop *tls = tls_loop_new(l, jobs, ctx, NULL);
    spec.credential = credential_for(root_path);
    serve(&service[0], l, &o);
    o.protocol = HTTP_ONLY_H2;
    serve(&service[1], l, &o);
    o.protocol = HTTP_BY_ALPN;
    o.tls = tls;
    o.spec = &spec;
    serve(&service[2], l, &o);
    printf("%u %u %u\n", service[0].at.port, service[1].at.port, service[2].at.port);
    (void)fflush(stdout);
    stdin_watch_start(&end, l);
    loop_run(l);
    stdin_watch_stop(&end);
    for (int i = 0; i < 3; i++) {
        unserve(&service[i]);
    }
    loop_advance(l, 60000);
    for (int i = 0; i < 100; i++) {
        (void)loop_turn(l, 0);
    }
    tls_loop_free(tls);
    jobs_free(jobs);
    tls_ctx_free(ctx);
    spec.credential = credential_unref(spec.credential);
    return 0;
}

static void print_response(struct caller *c)
{
    printf("result %d\nstatus %u\n", c->result, c->x->in.status);
    for (unsigned i = 0; i < c->x->in.count; i++) {
        struct message_field f = message_field(&c->x->in, i);
        printf("%.*s: %.*s\n", (int)f.name.len, f.name.p, (int)f.value.len, f.value.p);
    }
    printf("\n");
    (void)fwrite(bytes_peek(&c->got), 1, c->got.len, stdout);
}

static int fetch(struct loop *l, char **argv)
{
    AUTO(message) struct message head = {0};
    struct endpoint to = {0};
    struct caller c;

    if (ip_parse(&to.ip, "127.0.0.1", 9) < 0 ||
        num_parse_port(argv[0], strlen(argv[0]), &to.port) < 0) {
        return 2;
    }
    int fd = sock_open(IP_V4, SOCK_TYPE_STREAM, NULL);
    struct h2_session *s = h2_client_new(l, tcp_stream_connect(l, fd, &to, 2000), NULL, NULL);
    message_request(&head, argv[1], "http", "localhost", argv[2]);
    struct exchange *x = h2_session_request(s, &head, argv[3] == NULL);
    caller_start(&c, l, x, argv[3], argv[3] ? strlen(argv[3]) : 0);
    for (int i = 0; i < 2000 && c.result == 0; i++) {
        (void)loop_turn(l, 10);
    }
    print_response(&c);
    int r = c.result == 1 ? 0 : 1;
    caller_stop(&c, 0);
    h2_session_free(s);
    loop_advance(l, 60000);
    for (int i = 0; i < 100; i++) {
        (void)loop_turn(l, 0);
    }
    return r;
}

int main(int argc, char **argv)
{
    struct loop *l = loop_new(NULL);
    int r = 2;

    if (argc == 3 && strcmp(argv[1], "serve") == 0) {
        r = serve_all(l, argv[2]);
    } else if (argc >= 5 && strcmp(argv[1], "fetch") == 0) {
        r = fetch(l, argv + 2);
    }
    loop_free(l);
    return r;
}
