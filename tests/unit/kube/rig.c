/* SPDX-License-Identifier: Apache-2.0 */
#include "rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "apiserver/api.h"
#include "apiserver/serve.h"
#include "apiserver/store.h"
#include "base/clock.h"
#include "base/mem.h"
#include "io/jobs.h"
#include "io/loop.h"
#include "io/sock.h"
#include "kube/config.h"

const struct kube_resource rig_config_maps = {"", "v1", "configmaps", true};
const struct kube_resource rig_namespaces = {"", "v1", "namespaces", false};

static void must(int r, const char *what, const struct diag *why)
{
    if (r < 0) {
        fprintf(stderr, "rig: %s: %s\n", what, why->text);
        abort();
    }
}

void rig_serve(struct rig *g)
{
    struct diag why = {0};
    struct endpoint at = {.port = (uint16_t)g->port};
    struct http_server_options http = {0};
    struct serve_user user = {.token = "secret", .name = "admin", .is_admin = true};

    must(ip_parse(&at.ip, "127.0.0.1", 9), "address", &why);
    int fd = sock_open(IP_V4, SOCK_TYPE_STREAM, &why);
    must(fd, "socket", &why);
    must(sock_set_reuse_address(fd, &why), "reuse", &why);
    must(sock_bind(fd, &at, &why), "bind", &why);
    must(sock_listen(fd, 64, &why), "listen", &why);
    must(sock_local(fd, &at), "port", &why);
    g->port = at.port;
    g->serve = serve_new(g->loop, g->api, &http);
    must(serve_add_user(g->serve, &user), "user", &why);
    must(serve_listen(g->serve, fd, &why), "serve", &why);
}

void rig_stop_serving(struct rig *g)
{
    serve_free(g->serve);
    g->serve = NULL;
}

void rig_start(struct rig *g)
{
    struct diag why = {0};
    struct api_config config = {0};
    char server[64];
    char token[] = "secret";
    char ns[] = "default";

    *g = (struct rig){
        .loop = loop_new(&why), .jobs = jobs_new(1, 16, 16, &why), .store = store_new()};
    loop_stop_clock(g->loop);
    must(api_new(g->store, &config, &why, &g->api), "api", &why);
    store_loaded(g->store, 1);
    if (rig_call(g, "POST", "/api/v1/namespaces", "{\"metadata\":{\"name\":\"n\"}}") != 201) {
        abort();
    }
    rig_serve(g);
    snprintf(server, sizeof(server), "http://127.0.0.1:%u", g->port);
    struct kube_config kc = {.server = server, .token = token, .namespace = ns};
    must(kube_client_new(g->loop, g->jobs, &kc, "rig", &why, &g->client), "client", &why);
}

void rig_stop(struct rig *g)
{
    kube_client_free(g->client);
    rig_stop_serving(g);
    api_free(g->api);
    store_free(g->store);
    jobs_free(g->jobs);
    loop_turn(g->loop, 0);
    loop_free(g->loop);
}

unsigned rig_call(struct rig *g, const char *method, const char *target, const char *body)
{
    struct api_user admin = {.name = "admin", .is_admin = true};
    struct api_request rq = {.method = slice_of(method),
                             .target = slice_of(target),
                             .body = body ? slice_of(body) : (struct slice){NULL, 0},
                             .user = &admin,
                             .now_ns = clock_wall_ns()};
    struct api_response out = {0};

    api_handle(g->api, &rq, &out);
    store_set_durable(g->store, store_rv(g->store));
    unsigned status = out.status;
    api_response_fini(&out);
    return status;
}

void rig_put(struct rig *g, const char *name, const char *value)
{
    char target[128];
    char body[256];

    snprintf(target, sizeof(target), "/api/v1/namespaces/n/configmaps/%s", name);
    snprintf(body, sizeof(body), "{\"metadata\":{\"name\":\"%s\"},\"data\":{\"v\":\"%s\"}}", name,
             value);
    if (rig_call(g, "PUT", target, body) == 404) {
        rig_call(g, "POST", "/api/v1/namespaces/n/configmaps", body);
    }
}

void rig_drop(struct rig *g, const char *name)
{
    char target[128];

    snprintf(target, sizeof(target), "/api/v1/namespaces/n/configmaps/%s", name);
    rig_call(g, "DELETE", target, NULL);
}
