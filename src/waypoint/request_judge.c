/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a head to a decision, in this order: one form of path and host, whether there is memory, the rule that matches, the
 * answer to a preflight, who the token says it is, whether policy lets it, and then what the rule
 * says: refuse, redirect, or a backend.
 */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "codec/http_path.h"
#include "waypoint/request_int.h"

/* ---- the view */

/* Several lines of one name are one value: nobody may hide one from a policy. */
static struct slice join_lines(const struct message *in, struct arena *a, const char *name,
                               int first)
{
    AUTO(strbuf) struct strbuf all = {0};

    for (int i = first; i >= 0; i = message_find_next(in, name, (unsigned)i + 1)) {
        struct slice v = message_field(in, (unsigned)i).value;
        strbuf_puts(&all, all.len > 0 ? "," : "");
        strbuf_add(&all, v.p, v.len);
    }
    return (struct slice){arena_text(a, strbuf_text(&all), all.len), all.len};
}

static struct slice look_up(const struct message *in, struct arena *a, const char *name)
{
    int first = message_find_next(in, name, 0);

    if (first < 0) {
        return (struct slice){NULL, 0};
    }
    if (message_find_next(in, name, (unsigned)first + 1) >= 0) {
        return join_lines(in, a, name, first);
    }
    struct slice v = message_field(in, (unsigned)first).value;
    return v.p ? v : (struct slice){"", 0};
}

static struct slice find_header(void *arg, const char *name)
{
    struct request *q = arg;

    return look_up(&q->down->in, &q->arena, name);
}

static enum http_slashes slashes_of(const struct config *c)
{
    return strstr(c->path_normalization, "MERGE") ? HTTP_SLASHES_MERGED : HTTP_SLASHES_KEPT;
}

/* %2F and %5C become what they stand for, before anything else looks. */
static void decode_slashes(struct slice path, struct strbuf *out)
{
    for (size_t i = 0; i < path.len; i++) {
        bool escape = path.p[i] == '%' && i + 2 < path.len;
        char a = escape ? path.p[i + 1] : '\0';
        char b = escape ? (char)(path.p[i + 2] | 0x20) : '\0';
        if ((a == '2' && b == 'f') || (a == '5' && b == 'c')) {
            strbuf_putc(out, '/');
            i += 2;
        } else {
            strbuf_putc(out, path.p[i]);
        }
    }
}

static int normalise(struct request *q, struct slice path, struct diag *why)
{
    const struct config *c = q->store->engine->config;
    enum http_slashes how = slashes_of(c);

    strbuf_clear(&q->path);
    if (strcmp(c->path_normalization, "NONE") == 0) {
        q->view.path = path;
        http_path_respell(path, &q->path);
        q->view.respelt = (struct slice){strbuf_text(&q->path), q->path.len};
        return 0;
    }
    if (c->path_normalization[0] == 'D' && c->path_normalization[2] == 'C' &&
        memchr(path.p, '%', path.len)) {
        strbuf_clear(&q->text);
        decode_slashes(path, &q->text);
        path = (struct slice){strbuf_text(&q->text), q->text.len};
    } else if (http_path_is_normal(path, how)) {
        q->view.path = path;
        return 0;
    }
    int r = http_path_normalise(path, how, &q->path, why);
    q->view.path = (struct slice){strbuf_text(&q->path), q->path.len};
    return r;
}

static bool is_grpc(const struct message *m)
{
    struct slice type;
    static const char prefix[] = "application/grpc";
    size_t n = sizeof(prefix) - 1;

    return message_find(m, "content-type", &type) && slice_has_prefix(type, prefix) &&
           (type.len == n || type.p[n] == '+' || type.p[n] == ';');
}

static int make_view(struct request *q)
{
    const struct message *in = &q->down->in;
    struct diag why = {0};
    struct slice path;

    message_target(in, &path, &q->query);
    q->conn = entry_conn(&q->session->entry);
    q->view = (struct l7_request){.conn = &q->conn,
                                  .method = message_get(in, MESSAGE_METHOD),
                                  .query = q->query,
                                  .header = find_header,
                                  .header_arg = q};
    /* An empty query and none are told apart, for what goes on is what came. */
    q->query.p = memchr(message_get(in, MESSAGE_PATH).p, '?', message_get(in, MESSAGE_PATH).len)
                     ? (q->query.p ? q->query.p : "")
                     : NULL;
    q->grpc = is_grpc(in);
    q->record.grpc = q->grpc;
    strbuf_clear(&q->host);
    int r = normalise(q, path, &why);
    if (r < 0) {
        return request_answer(q, 400, HTTP_CLIENT_ERROR, "path_normalization_failed", "");
    }
    r = http_host_canonical(message_get(in, MESSAGE_AUTHORITY), &q->host, &why);
    if (r < 0) {
        return request_answer(q, 400, HTTP_CLIENT_ERROR, "host_is_not_valid", "");
    }
    q->view.authority = (struct slice){strbuf_text(&q->host), q->host.len};
    return 0;
}

/* ---- decisions */

static int find_route(struct request *q)
{
    const struct l7_port *port = q->held->port;
    const struct entry *e = &q->session->entry;

    q->plan = (struct request_plan){.port = e->destination.port,
                                    .key = e->service ? e->service->key : NULL};
    if (e->service && !port) { /* it was taken from us meanwhile */
        return request_answer(q, 404, HTTP_NO_ROUTE, "route_not_found", "");
    }
    struct l7_rules rules = port ? l7_port_rules(port, e->peer) : (struct l7_rules){.table = NULL};
    if (!rules.table) {
        return 0;
    }
    struct l7_hit hit = l7_table_find(rules.table, &q->view);
    q->plan.route = hit.route;
    q->plan.match = hit.match;
    q->record.route = hit.route ? hit.route->label : NULL;
    return hit.route ? 0 : request_answer(q, 404, HTTP_NO_ROUTE, "route_not_found", "");
}

static int judge_cors(struct request *q)
{
    if (!q->plan.route || !q->plan.route->cors) {
        return 0;
    }
    q->has_cors = true;
    q->cors_verdict = l7_cors_decide(q->plan.route->cors, &q->view, &q->cors);
    return q->cors_verdict.preflight ? request_answer(q, 200, HTTP_FLAG_NONE, "cors_preflight", "")
                                     : 0;
}

static int refuse_token(struct request *q, const struct request_auth *a)
{
    const char *message = a->message ? a->message : "Jwt verification fails";

    (void)snprintf(q->details, sizeof(q->details), "jwt_authn_access_denied{%s}", message);
    (void)request_answer(q, 401, HTTP_FLAG_NONE, q->details, message);
    strbuf_clear(&q->text);
    request_auth_challenge(a, &q->view, "http", &q->text);
    message_puts(&q->out, "www-authenticate", strbuf_text(&q->text));
    return 1;
}

static int refuse_policy(struct request *q, const struct l7_authz *v)
{
    (void)l7_authz_text(v, q->details);
    return request_answer(q, 403, HTTP_FLAG_NONE, q->details, "RBAC: access denied");
}

static int judge_token(struct request *q, const struct l7 *l7)
{
    if (!l7_asks_for_tokens(l7, q->held->bound)) {
        return 0;
    }
    struct request_auth_ask ask = {.world = l7,
                                   .service = q->held->bound,
                                   .request = &q->view,
                                   .now_s = clock_wall_s(),
                                   .cache = q->store->engine->tokens};
    request_auth_judge(&q->auth, &ask);
    q->has_auth = true;
    if (q->auth.outcome == REQUEST_AUTH_REFUSED) {
        return refuse_token(q, &q->auth);
    }
    request_auth_show(&q->auth, &q->view);
    if (q->auth.query) {
        q->query = slice_of(q->auth.query);
    }
    return 0;
}

int request_refuse_guarded(struct request *q)
{
    return request_answer(q, 403, HTTP_FLAG_NONE, "policy_guards_port", "RBAC: access denied");
}

static int judge_policy(struct request *q, const struct l7 *l7)
{
    const struct service *s = q->session->entry.service;
    if (entry_is_guarded(&q->session->entry)) { /* it was not when the client came */
        return request_refuse_guarded(q);
    }
    struct l7_authz v = l7_authorize(l7, q->held->bound, &q->view);

    q->policy_generation = l7_policy_generation(l7);
    policy_notes_take(&q->record.notes, &v, s ? s->hostname : NULL, q->store->engine->shard,
                      &q->arena);
    return v.allowed ? 0 : refuse_policy(q, &v);
}

static int redirect(struct request *q, const struct l7_redirect *r)
{
    struct l7_came came = {.scheme = "http", .listener_port = q->session->entry.destination.port};

    (void)request_answer(q, r->status, HTTP_FLAG_NONE, "direct_response", "");
    strbuf_clear(&q->text);
    l7_redirect_location(r, q->plan.match, &q->view, &came, &q->text);
    message_puts(&q->out, "location", strbuf_text(&q->text));
    return 1;
}

static int follow(struct request *q)
{
    const struct l7_route *route = q->plan.route;
    uint64_t seed = rand_seq_next(&q->store->engine->random);

    if (!route) {
        q->plan.retries = DEFAULT_RETRIES;
        q->plan.default_retries = true;
        return 0;
    }
    if (route->invalid[0]) {
        return request_answer(q, 500, HTTP_NO_CLUSTER, "route_is_invalid", "");
    }
    if (route->redirect) {
        return redirect(q, route->redirect);
    }
    switch (l7_pick_backend(route, seed, &q->plan.backend)) {
    case L7_FOLLOWED:
        if (q->plan.backend->redirect) {
            return redirect(q, q->plan.backend->redirect);
        }
        break;
    case L7_NO_BACKEND:
        return request_answer(q, 500, HTTP_FLAG_NONE, "direct_response", "");
    case L7_BAD_BACKEND:
    case L7_BAD_RULE:
    case L7_NO_ROUTE:
        return request_answer(q, 500, HTTP_NO_CLUSTER, "cluster_not_found", "");
    }
    q->plan.key = q->plan.backend->key;
    q->plan.port = q->plan.backend->port;
    q->plan.retries = route->retry.set ? route->retry.attempts : DEFAULT_RETRIES;
    q->plan.default_retries = !route->retry.set;
    return 0;
}

const struct l7_service *request_service(const struct request *q, const struct l7_backend *backend)
{
    const struct l7 *l7 = engine_l7(q->store->engine);

    return backend && l7 ? l7_service_find(l7, backend->key) : q->held->bound;
}

/* HTTP/2 where the backend's port says so or gRPC needs it; else as its port is, HTTP/1.1. */
enum upstream_protocol request_protocol(const struct request *q, const struct l7_backend *backend)
{
    const struct l7_service *s = request_service(q, backend);
    const struct l7_port *port =
        s ? l7_service_port(s, backend ? backend->port : q->plan.port) : NULL;
    enum l7_protocol said = backend && backend->protocol != L7_UNKNOWN ? backend->protocol
                            : port                                     ? port->protocol
                                                                       : L7_UNKNOWN;

    return said == L7_HTTP2 || said == L7_GRPC || q->grpc ? UPSTREAM_H2 : UPSTREAM_H1;
}

static int judge_memory(struct request *q)
{
    if (!engine_is_overloaded(q->store->engine)) {
        return 0;
    }
    q->store->engine->overloaded++;
    return request_answer(q, 503, HTTP_OVERLOAD, "overload", "envoy overloaded");
}

/* Who asks how far OPTIONS comes gets the answer where it ends (RFC 9110 7.6.2). */
static int judge_hops(struct request *q)
{
    uint64_t hops = 0;

    return request_hops(q, &hops) && hops == 0
               ? request_answer(q, 200, HTTP_FLAG_NONE, "max_forwards", "")
               : 0;
}

/* Refused whatever a rule says: it shows a request to who sent it, cookies included. */
static bool is_trace(const struct request *q)
{
    return slice_is(q->view.method, "TRACE");
}

int request_judge(struct request *q)
{
    const struct l7 *l7 = engine_l7(q->store->engine);
    int r = make_view(q);

    r = r == 0 ? judge_memory(q) : r;
    if (r == 0 && is_trace(q)) {
        r = request_answer(q, 405, HTTP_CLIENT_ERROR, "trace_is_disabled", "");
    }
    if (r == 0) {
        r = find_route(q);
        if (r == 0) {
            r = judge_cors(q);
        } else {
            /* Whether there is a rule is told only to those who may ask. */
            int denied = judge_token(q, l7);
            denied = denied == 0 ? judge_policy(q, l7) : denied;
            return denied != 0 ? 1 : request_answer(q, 404, HTTP_NO_ROUTE, "route_not_found", "");
        }
    }
    if (r == 0) {
        r = judge_token(q, l7);
    }
    if (r == 0) {
        r = judge_policy(q, l7);
    }
    if (r == 0) {
        r = judge_hops(q);
    }
    if (r == 0) {
        r = follow(q);
    }
    if (r == 0) {
        q->plan.protocol = request_protocol(q, q->plan.backend);
    }
    return r;
}

/* ---- once more */

/* The view of a request that runs. What it borrows lasts as long as the request does: the head, the
 * forms of path and host, the claims. Lines that are joined do not outlive the judgement, so that a
 * stream does not grow with every change. */
struct review {
    const struct message *in;
    struct arena arena;
    struct request_auth auth;
    struct l7_request view;
};

static struct slice review_header(void *arg, const char *name)
{
    struct review *v = arg;

    return look_up(v->in, &v->arena, name);
}

static bool is_verified(const struct request *q)
{
    return q->has_auth && q->auth.outcome == REQUEST_AUTH_VALID;
}

/* A token that was verified stays so, whatever becomes of its rule, its key and its time. One that
 * nobody asked for then counts as of then: had the rule been there, it would have been looked at. */
static void review_token(struct request *q, const struct l7_service *bound, struct review *v)
{
    const struct l7 *l7 = engine_l7(q->store->engine);
    struct request_auth_ask ask = {.world = l7,
                                   .service = bound,
                                   .request = &v->view,
                                   .now_s = (int64_t)(q->record.started_wall_ns / 1000000000),
                                   .cache = q->store->engine->tokens};

    v->auth = (struct request_auth){.outcome = REQUEST_AUTH_NOBODY};
    if (is_verified(q) || !l7_asks_for_tokens(l7, bound)) {
        return;
    }
    request_auth_judge(&v->auth, &ask);
    request_auth_show(&v->auth, &v->view);
}

int request_judge_again(struct request *q, const struct l7_service *bound)
{
    const struct l7 *l7 = engine_l7(q->store->engine);
    struct review v = {.in = request_came(q), .view = q->view};
    int denied = 0;

    q->policy_generation = l7_policy_generation(l7);
    v.view.header = review_header;
    v.view.header_arg = &v;
    review_token(q, bound, &v);
    if (v.auth.outcome == REQUEST_AUTH_REFUSED) {
        denied = refuse_token(q, &v.auth);
    } else {
        struct l7_authz said = l7_authorize(l7, bound, &v.view);
        denied = said.allowed ? 0 : refuse_policy(q, &said);
    }
    request_auth_fini(&v.auth);
    arena_fini(&v.arena);
    return denied;
}

/* ---- consistent hashing */

static bool find_cookie(struct slice all, const char *name, struct slice *out)
{
    size_t n = strlen(name);

    while (all.len > 0) {
        struct slice one;
        (void)slice_cut(all, ';', &one, &all); /* without one: the last */
        one = slice_trim(one);
        if (one.len > n && memcmp(one.p, name, n) == 0 && one.p[n] == '=') {
            *out = (struct slice){one.p + n + 1, one.len - n - 1};
            if (out->len >= 2 && out->p[0] == '"' && out->p[out->len - 1] == '"') {
                *out = (struct slice){out->p + 1, out->len - 2};
            }
            return true;
        }
    }
    return false;
}

static bool cookie_hash(struct request *q, const struct l7_hash_key *k, uint64_t *out)
{
    struct slice all = find_header(q, "cookie");
    struct slice value;

    if (all.p && find_cookie(all, k->cookie, &value)) {
        *out = l7_hash(value);
        return true;
    }
    if (!k->make_cookie) {
        return false;
    }
    if (q->cookie[0] == '\0') {
        (void)snprintf(q->cookie, sizeof(q->cookie), "%016llx",
                       (unsigned long long)rand_seq_next(&q->store->engine->random));
    }
    q->set_cookie = true;
    *out = l7_hash(slice_of(q->cookie));
    return true;
}

bool request_hash(struct request *q, const struct l7_traffic *t, uint64_t *out)
{
    const struct l7_hash_key *k = t ? &t->hash : NULL;
    struct slice v = {NULL, 0};

    if (!k || t->balance != L7_CONSISTENT_HASH) {
        return false;
    }
    if (k->header && k->header[0]) {
        v = l7_request_header(&q->view, k->header);
    } else if (k->cookie && k->cookie[0]) {
        return cookie_hash(q, k, out);
    } else if (k->query && k->query[0]) {
        struct slice found;
        v = message_query_find(q->view.query, k->query, &found) ? found : v;
        v.p = v.len > 0 ? v.p : NULL;
    } else if (k->source_ip) {
        v = (struct slice){(const char *)q->conn.source.ip.bytes, ip_size(&q->conn.source.ip)};
    }
    if (!v.p) {
        return false;
    }
    *out = l7_hash(v);
    return true;
}
