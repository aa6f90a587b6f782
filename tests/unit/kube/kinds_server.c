/* SPDX-License-Identifier: Apache-2.0 */
#include "kinds_server.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/jobs.h"
#include "io/loop.h"
#include "io/sock.h"
#include "kube/config.h"

#define NAME "authorizationpolicies.security.istio.io"

const char kinds_there[] =
    "{\"kind\":\"CustomResourceDefinition\",\"metadata\":{\"name\":\"" NAME "\"},"
    "\"spec\":{\"versions\":[{\"name\":\"v1beta1\",\"served\":true},"
    "{\"name\":\"v1\",\"served\":true}]}}";
const char kinds_unserved[] =
    "{\"kind\":\"CustomResourceDefinition\",\"metadata\":{\"name\":\"" NAME "\"},"
    "\"spec\":{\"versions\":[{\"name\":\"v1beta1\",\"served\":true},"
    "{\"name\":\"v1\",\"served\":false}]}}";
const char kinds_absent[] =
    "{\"kind\":\"Status\",\"status\":\"Failure\",\"reason\":\"NotFound\",\"code\":404,"
    "\"message\":\"not found\",\"details\":{\"name\":\"" NAME "\","
    "\"group\":\"apiextensions.k8s.io\",\"kind\":\"customresourcedefinitions\"}}";
const char kinds_named[] = "{\"kind\":\"APIResourceList\",\"resources\":["
                           "{\"name\":\"authorizationpolicies\",\"namespaced\":true}]}";
const char kinds_unnamed[] = "{\"kind\":\"APIResourceList\",\"resources\":["
                             "{\"name\":\"peerauthentications\",\"namespaced\":true}]}";

static void reply(struct kinds_server *s, struct exchange *x, unsigned status, const char *body)
{
    exchange_reply_text(s->loop, x, status, "application/json", body);
}

static bool has(struct slice path, const char *text)
{
    return memmem(path.p, path.len, text, strlen(text)) != NULL;
}

static void serve_objects(struct kinds_server *s, struct exchange *x, struct slice path)
{
    bool is_kind = has(path, s->kind);
    bool is_watch = has(path, "watch=true");

    s->lists += is_kind && !is_watch;
    if (is_kind && !s->is_served) {
        exchange_reply_text(s->loop, x, 404, "text/plain", "404 page not found\n");
    } else if (is_watch) {
        reply(s, x, 200, "");
    } else {
        reply(s, x, 200,
              is_kind ? "{\"kind\":\"List\",\"metadata\":{\"resourceVersion\":\"5\"},\"items\":["
                        "{\"metadata\":{\"namespace\":\"n\",\"name\":\"one\",\"resourceVersion\":"
                        "\"3\"}}]}"
                      : "{\"kind\":\"List\",\"metadata\":{\"resourceVersion\":\"5\"},"
                        "\"items\":[]}");
    }
}

static void serve(struct task *t, unsigned why)
{
    struct kinds_server *s = container_of(t, struct kinds_server, task);
    struct exchange *x = NULL;

    (void)why;
    while (http_server_next(s->server, &x) > 0) {
        struct slice path = message_get(&x->in, MESSAGE_PATH);
        if (has(path, "/customresourcedefinitions/")) {
            s->definitions++;
            reply(s, x, s->definition_status, s->definition);
        } else if (slice_is(path, "/apis/security.istio.io/v1")) {
            s->groups++;
            reply(s, x, s->group ? 200 : 404, s->group ? s->group : "{}");
        } else {
            serve_objects(s, x, path);
        }
    }
}

static void must(int r, const char *what)
{
    if (r < 0) {
        fprintf(stderr, "kinds server: %s\n", what);
        abort();
    }
}

void kinds_server_start(struct kinds_server *s, struct loop *l, const char *kind)
{
    struct http_server_options o = {.protocol = HTTP_ONLY_H1};
    struct endpoint at = {.port = 0};
    char server[64];
    char ns[] = "default";
    struct kube_config kc = {.server = server, .namespace = ns};

    *s = (struct kinds_server){.kind = kind, .loop = l, .jobs = jobs_new(1, 16, 16, NULL)};
    kinds_server_say(s, 200, kinds_there);
    loop_stop_clock(l);
    task_init(&s->task, l, "kinds", serve);
    s->server = http_server_new(l, &o, &s->task);
    must(ip_parse(&at.ip, "127.0.0.1", 9), "address");
    int fd = sock_open(IP_V4, SOCK_TYPE_STREAM, NULL);
    must(sock_bind(fd, &at, NULL), "bind");
    must(sock_listen(fd, 64, NULL), "listen");
    must(sock_local(fd, &at), "port");
    must(http_server_listen(s->server, fd, NULL), "serve");
    (void)snprintf(server, sizeof(server), "http://127.0.0.1:%u", at.port);
    must(kube_client_new(l, s->jobs, &kc, "test", NULL, &s->client), "client");
}

void kinds_server_stop(struct kinds_server *s)
{
    kube_client_free(s->client);
    http_server_free(s->server);
    task_fini(&s->task);
    jobs_free(s->jobs);
    (void)loop_turn(s->loop, 0);
}

void kinds_server_say(struct kinds_server *s, unsigned status, const char *definition)
{
    s->definition_status = status;
    s->definition = definition;
}
