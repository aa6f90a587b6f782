/* SPDX-License-Identifier: Apache-2.0 */
#include "obs/l7_why.h"

#include <string.h>

#include "base/ascii.h"
#include "base/clock.h"
#include "base/num.h"
#include "codec/http_path.h"
#include "codec/json.h"
#include "codec/url.h"
#include "model/l7_apply.h"
#include "model/l7_authz.h"
#include "obs/l7_json.h"
#include "tls/request_auth.h"

enum { CLIENT_PORT = 40000 };

struct header {
    struct strbuf name; /* lower case */
    struct strbuf value;
};

struct ask {
    const struct l7 *world;
    struct strbuf to, identity, source_ip, method, target, host;
    struct strbuf path; /* normal */
    struct slice query;
    struct header headers[L7_WHY_HEADERS_MAX];
    unsigned header_count;
    uint16_t port;
    /* found */
    const struct l7_service *service;
    const struct l7_port *at;
    const struct identity *peer; /* owned */
    struct l7_conn conn;
    struct l7_request request;
    int64_t now_s;
    struct request_auth auth; /* judged for HTTP alone */
    struct strbuf flaw;       /* of the token */
};

static void ask_fini(struct ask *q)
{
    struct strbuf *texts[] = {&q->to,     &q->identity, &q->source_ip, &q->method,
                              &q->target, &q->host,     &q->path,      &q->flaw};

    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        strbuf_fini(texts[i]);
    }
    for (unsigned i = 0; i < q->header_count; i++) {
        strbuf_fini(&q->headers[i].name);
        strbuf_fini(&q->headers[i].value);
    }
    (void)identity_unref(q->peer); /* returns NULL */
    request_auth_fini(&q->auth);
}

/* ---- the question */

/* The last one goes to the one of its name before it: several lines are one value, as a request's are. */
static void join_lines(struct ask *q, struct header *last)
{
    for (struct header *h = q->headers; h < last; h++) {
        if (strcmp(strbuf_text(&h->name), strbuf_text(&last->name)) == 0) {
            strbuf_putc(&h->value, ',');
            strbuf_add(&h->value, last->value.p, last->value.len);
            strbuf_fini(&last->name);
            strbuf_fini(&last->value);
            q->header_count--;
            return;
        }
    }
}

static int add_header(struct ask *q, struct slice encoded, struct diag *why)
{
    AUTO(strbuf) struct strbuf text = {0};
    struct slice name;
    struct slice value;

    if (url_decode(&text, encoded, URL_FORM) < 0 ||
        !slice_cut((struct slice){text.p, text.len}, ':', &name, &value) || name.len == 0) {
        return FAIL(why, -ERR_SYNTAX, "header: NAME:VALUE is needed");
    }
    if (q->header_count == L7_WHY_HEADERS_MAX) {
        return FAIL(why, -ERR_LIMIT, "header: at most %d", L7_WHY_HEADERS_MAX);
    }
    struct header *h = &q->headers[q->header_count++];
    *h = (struct header){.name = {0}};
    for (size_t i = 0; i < name.len; i++) {
        strbuf_putc(&h->name, ascii_lower(name.p[i]));
    }
    value = slice_trim(value);
    strbuf_add(&h->value, value.p, value.len);
    join_lines(q, h);
    return 0;
}

static int read_headers(struct ask *q, struct slice query, struct diag *why)
{
    struct slice key;
    struct slice value;
    int r = 0;

    while (r == 0 && url_query_next(&query, &key, &value)) {
        if (slice_is(key, "header")) {
            r = add_header(q, value, why);
        }
    }
    return r;
}

static int read_texts(struct ask *q, struct slice query, struct diag *why)
{
    const struct {
        const char *name;
        struct strbuf *into;
        const char *otherwise;
    } texts[] = {{"to", &q->to, ""},
                 {"identity", &q->identity, ""},
                 {"method", &q->method, "GET"},
                 {"source_ip", &q->source_ip, "0.0.0.0"},
                 {"path", &q->target, "/"},
                 {"host", &q->host, ""}};

    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        if (url_query_get(query, texts[i].name, texts[i].into) < 0) {
            return FAIL(why, -ERR_SYNTAX, "%s: broken escape", texts[i].name);
        }
        if (texts[i].into->len == 0) {
            strbuf_puts(texts[i].into, texts[i].otherwise);
        }
    }
    return q->to.len > 0 ? 0
                         : FAIL(why, -ERR_SYNTAX, "ask with ?to=NS/HOSTNAME&port=PORT&path=PATH");
}

static int read_port(struct ask *q, struct slice query, struct diag *why)
{
    AUTO(strbuf) struct strbuf text = {0};
    uint32_t port = 0;

    if (url_query_get(query, "port", &text) <= 0 ||
        num_parse_u32(strbuf_text(&text), text.len, UINT16_MAX, &port) < 0 || port == 0) {
        return FAIL(why, -ERR_SYNTAX, "port: a number from 1 to 65535 is needed");
    }
    q->port = (uint16_t)port;
    return 0;
}

static int find(struct ask *q, struct diag *why)
{
    q->service = l7_service_find(q->world, strbuf_text(&q->to));
    if (!q->service || !q->service->binding) {
        return FAIL(why, -ERR_NOT_FOUND, "this waypoint does not serve %.200s",
                    strbuf_text(&q->to));
    }
    q->at = l7_service_port(q->service, q->port);
    return q->at ? 0 : FAIL(why, -ERR_NOT_FOUND, "%.200s has no port %u", q->service->key, q->port);
}

static struct slice header_of(void *arg, const char *name)
{
    struct ask *q = arg;

    for (unsigned i = 0; i < q->header_count; i++) {
        if (strcmp(strbuf_text(&q->headers[i].name), name) == 0) {
            return (struct slice){strbuf_text(&q->headers[i].value), q->headers[i].value.len};
        }
    }
    return (struct slice){NULL, 0};
}

static int make_conn(struct ask *q, struct diag *why)
{
    struct ip ip;
    int r = 0;

    if (ip_parse(&ip, strbuf_text(&q->source_ip), q->source_ip.len) < 0) {
        return FAIL(why, -ERR_SYNTAX, "source_ip: %.60s is no address", strbuf_text(&q->source_ip));
    }
    if (q->identity.len > 0) {
        r = identity_parse(&q->peer, strbuf_text(&q->identity), q->identity.len, why);
    }
    q->conn = (struct l7_conn){.peer = q->peer,
                               .source = {ip, CLIENT_PORT},
                               .remote = ip,
                               .destination = {.port = q->port}};
    return r;
}

static int make_request(struct ask *q, struct diag *why)
{
    AUTO(strbuf) struct strbuf host = {0};
    AUTO(strbuf) struct strbuf spelled = {0};
    struct slice path;
    int r = make_conn(q, why);

    url_split((struct slice){strbuf_text(&q->target), q->target.len}, &path, &q->query);
    if (r == 0) {
        http_path_respell(path, &spelled); /* clients escape what people write */
        r = http_path_normalise((struct slice){strbuf_text(&spelled), spelled.len},
                                HTTP_SLASHES_KEPT, &q->path, why);
    }
    if (r == 0 && q->host.len == 0) {
        strbuf_puts(&q->host, q->service->binding->hostname);
    }
    if (r == 0) {
        r = http_host_canonical((struct slice){strbuf_text(&q->host), q->host.len}, &host, why);
    }
    if (r < 0) {
        return r;
    }
    strbuf_clear(&q->host);
    strbuf_add(&q->host, host.p, host.len);
    q->request = (struct l7_request){.conn = &q->conn,
                                     .method = {strbuf_text(&q->method), q->method.len},
                                     .authority = {strbuf_text(&q->host), q->host.len},
                                     .path = {strbuf_text(&q->path), q->path.len},
                                     .query = q->query,
                                     .header = header_of,
                                     .header_arg = q};
    return 0;
}

static bool is_tcp(const struct ask *q)
{
    return q->at->protocol == L7_TCP || q->at->protocol == L7_TLS;
}

/* ---- token */

static bool asks_for_tokens(const struct ask *q)
{
    return !is_tcp(q) && l7_asks_for_tokens(q->world, q->service);
}

static void judge_token(struct ask *q)
{
    struct request_auth_ask ask = {.world = q->world,
                                   .service = q->service,
                                   .request = &q->request,
                                   .now_s = q->now_s,
                                   .explain = &q->flaw};

    if (asks_for_tokens(q)) {
        request_auth_judge(&q->auth, &ask);
        request_auth_show(&q->auth, &q->request);
    }
}

static bool is_token_refused(const struct ask *q)
{
    return asks_for_tokens(q) && q->auth.outcome == REQUEST_AUTH_REFUSED;
}

static struct json *token_json(const struct ask *q)
{
    static const char *const outcomes[] = {[REQUEST_AUTH_REFUSED] = "refused",
                                           [REQUEST_AUTH_NOBODY] = "none",
                                           [REQUEST_AUTH_VALID] = "valid"};
    const struct l7_policy *p = q->auth.policy;
    struct json *o = json_new_object();
    AUTO(strbuf) struct strbuf name = {0};

    if (p) {
        strbuf_printf(&name, "%s/%s", p->ns, p->name);
    }
    json_set_str(o, "outcome", asks_for_tokens(q) ? outcomes[q->auth.outcome] : "unasked");
    json_set_str(o, "policy", strbuf_text(&name));
    json_set_str(o, "issuer", q->auth.rule ? q->auth.rule->issuer : "");
    json_set_str(o, "principal", q->auth.principal ? q->auth.principal : "");
    json_set_str(o, "message", is_token_refused(q) ? q->auth.message : "");
    json_set_str(o, "detail", is_token_refused(q) ? strbuf_text(&q->flaw) : "");
    return o;
}

static void note_places(struct l7_policies all, struct json *notes)
{
    for (size_t i = 0; i < all.count && json_count(notes) < L7_WHY_POLICIES_MAX; i++) {
        const struct l7_policy *p = all.at[i].policy;
        for (size_t k = 0; k < p->jwt_rule_count; k++) {
            AUTO(strbuf) struct strbuf text = {0};
            strbuf_printf(&text, "no token: RequestAuthentication %s/%s looks for one of %s in ",
                          p->ns, p->name, p->jwt_rules[k].issuer);
            request_auth_places(&p->jwt_rules[k], &text);
            json_append_str(notes, strbuf_text(&text));
        }
    }
}

/* ---- policy */

static void add_checked(const struct ask *q, struct l7_policies all, struct json *list)
{
    static const char *const actions[] = {
        [L7_ALLOW] = "ALLOW", [L7_DENY] = "DENY", [L7_AUDIT] = "AUDIT", [L7_CUSTOM] = "CUSTOM"};

    for (size_t i = 0; i < all.count && json_count(list) < L7_WHY_POLICIES_MAX; i++) {
        const struct l7_policy *p = all.at[i].policy;
        struct json *o = json_new_object();
        AUTO(strbuf) struct strbuf name = {0};
        size_t rule = 0;
        strbuf_printf(&name, "%s/%s", p->ns, p->name);
        json_set_str(o, "policy", strbuf_text(&name));
        json_set_str(o, "action", actions[p->action]);
        json_set_bool(o, "matches", l7_policy_matches(p, &q->request, !is_tcp(q), &rule));
        json_set_bool(o, "dry_run", p->dry_run);
        json_set_int(o, "rule", (int64_t)rule);
        json_append(list, o);
    }
}

static void put_reason(const struct l7_authz *v, struct strbuf *out)
{
    AUTO(strbuf) struct strbuf by = {0};

    if (v->by.policy) {
        strbuf_printf(&by, "%s/%s", v->by.policy->ns, v->by.policy->name);
    }
    switch (v->reason) {
    case L7_NO_ALLOW_POLICIES:
        strbuf_puts(out, "no policy asks for less");
        break;
    case L7_ALLOWED_BY:
        strbuf_printf(out, "ALLOW policy %s rule %zu matches", strbuf_text(&by), v->by.rule);
        break;
    case L7_DENIED_BY:
        strbuf_printf(out, "DENY policy %s rule %zu matches", strbuf_text(&by), v->by.rule);
        break;
    case L7_CUSTOM_DENIED_BY:
        strbuf_printf(out, "CUSTOM policy %s has no provider here, and denies", strbuf_text(&by));
        break;
    case L7_NOT_ALLOWED:
        strbuf_puts(out, "ALLOW policies exist, none matches");
        break;
    case L7_BROKEN_POLICY:
        strbuf_printf(out, "policy %s is broken, and denies", strbuf_text(&by));
        break;
    case L7_TOKEN_HIDDEN:
        strbuf_puts(out, "tokens are to be verified, and what comes is no HTTP");
        break;
    case L7_UNDECIDED:
        strbuf_puts(out, "nothing was evaluated");
        break;
    }
}

static struct json *policy_json(const struct ask *q, bool *out_allowed)
{
    struct l7_authz v = is_tcp(q) ? l7_authorize_tcp(q->world, q->service, &q->conn)
                                  : l7_authorize(q->world, q->service, &q->request);
    struct json *o = json_new_object();
    AUTO(strbuf) struct strbuf name = {0};
    AUTO(strbuf) struct strbuf reason = {0};

    if (v.by.policy) {
        strbuf_printf(&name, "%s/%s", v.by.policy->ns, v.by.policy->name);
    }
    put_reason(&v, &reason);
    json_set_str(o, "outcome", v.allowed ? "allow" : "deny");
    json_set_str(o, "policy", strbuf_text(&name));
    json_set_int(o, "rule", (int64_t)v.by.rule);
    json_set_str(o, "reason", strbuf_text(&reason));
    add_checked(q, l7_authorization(q->world), json_make_array(o, "checked"));
    add_checked(q, q->service->authorization, json_get(o, "checked"));
    *out_allowed = v.allowed;
    return o;
}

/* ---- route */

struct routed {
    const char *outcome;
    const char *text;
    unsigned status; /* 0: it goes to a backend */
};

static struct routed follow(const struct l7_route *r)
{
    const struct l7_backend *backend;

    if (r->redirect) {
        return (struct routed){"followed", "redirected", 0};
    }
    switch (l7_pick_backend(r, 0, &backend)) {
    case L7_FOLLOWED:
        return (struct routed){"followed", backend->redirect ? "redirected" : "", 0};
    case L7_BAD_RULE:
        return (struct routed){"bad rule", r->invalid, 500};
    case L7_NO_BACKEND:
        return (struct routed){"no backend", "the rule has no backend with a weight", 500};
    case L7_BAD_BACKEND:
        return (struct routed){"followed",
                               "a backend is invalid: requests it draws are answered 500",
                               r->backend_count == 1 ? 500 : 0};
    case L7_NO_ROUTE:
        break;
    }
    return (struct routed){"none", "", 404};
}

static struct json *rule_json(const struct l7_route *r, const struct l7_match *m)
{
    struct json *o = json_new_object();
    struct json *backends = json_make_array(o, "backends");
    AUTO(strbuf) struct strbuf name = {0};
    AUTO(strbuf) struct strbuf match = {0};

    if (m) {
        l7_match_text(m, &match);
    }
    strbuf_printf(&name, "%s/%s", r->route_ns, r->route_name);
    json_set_str(o, "kind", l7_route_kind_name(r->kind));
    json_set_str(o, "route", strbuf_text(&name));
    json_set_int(o, "rule", r->rule);
    json_set_str(o, "rule_name", r->rule_name);
    json_set_str(o, "match", strbuf_text(&match));
    for (size_t i = 0; i < r->backend_count; i++) {
        struct json *b = json_new_object();
        json_set_str(b, "name", r->backends[i].key);
        json_set_int(b, "port", r->backends[i].port);
        json_set_int(b, "weight", r->backends[i].weight);
        json_set_str(b, "invalid", r->backends[i].invalid);
        json_append(backends, b);
    }
    return o;
}

static struct json *route_json(const struct ask *q, struct routed *out)
{
    struct l7_hit hit = {.route = NULL};
    struct l7_rules rules = l7_port_rules(q->at, q->peer);
    const struct l7_route *r = rules.tcp;

    if (rules.table && !is_tcp(q)) {
        hit = l7_table_find(rules.table, &q->request);
        r = hit.route;
        if (!r) {
            *out = (struct routed){"none", "no route of the service matches", 404};
        }
    } else if (!r) {
        *out = (struct routed){"direct", "the service has no routes: straight to its endpoints", 0};
    }
    struct json *o = r ? rule_json(r, hit.match) : json_new_object();
    if (r) {
        *out = follow(r);
    }
    json_set_str(o, "outcome", out->outcome);
    json_set_str(o, "text", out->text);
    return o;
}

/* ---- the whole */

/* A method that the waypoint refuses itself; it shows a request to who sent it. */
static bool is_trace(const struct ask *q)
{
    return !is_tcp(q) && slice_is(q->request.method, "TRACE");
}

/* In the order in which the waypoint asks. 0: it goes to a backend. */
static unsigned status_of(const struct ask *q, const struct json *o, bool allowed,
                          const struct routed *routed, struct strbuf *text)
{
    const char *reason = json_str_at(o, "policy.reason", "");

    if (is_trace(q)) {
        strbuf_puts(text, "405: TRACE is refused whatever policy says");
        return 405;
    }
    if (is_token_refused(q)) {
        strbuf_printf(text, "401: %s: %s, says RequestAuthentication %s", q->auth.message,
                      strbuf_text(&q->flaw), json_str_at(o, "token.policy", ""));
        return 401;
    }
    if (!allowed) {
        strbuf_printf(text, "%s: %s", is_tcp(q) ? "the connection is ended" : "403", reason);
        return 403;
    }
    if (routed->status > 0) {
        strbuf_printf(text, "%u: %s", routed->status, routed->text);
    }
    return routed->status;
}

static void conclude(const struct ask *q, struct json *o, bool allowed, const struct routed *routed)
{
    AUTO(strbuf) struct strbuf text = {0};
    unsigned status = status_of(q, o, allowed, routed, &text);

    json_set_str(o, "verdict", status > 0 ? "deny" : "allow");
    json_set_int(o, "status", status);
    json_set_str(o, "text", strbuf_text(&text));
    struct json *notes = json_make_array(o, "notes");
    if (asks_for_tokens(q) && q->auth.outcome == REQUEST_AUTH_NOBODY) {
        note_places(l7_authentication(q->world), notes);
        note_places(q->service->authentication, notes);
    }
}

static int read_all(struct ask *q, struct slice query, struct diag *why)
{
    int r = read_texts(q, query, why);

    if (r == 0) {
        r = read_port(q, query, why);
    }
    if (r == 0) {
        r = read_headers(q, query, why);
    }
    if (r == 0) {
        r = find(q, why);
    }
    return r < 0 ? r : make_request(q, why);
}

struct json *l7_why_answer(const struct l7 *w, struct slice query, int64_t now_s, struct diag *why)
{
    struct ask q = {.world = w, .now_s = now_s};
    struct json *o = NULL;

    if (read_all(&q, query, why) == 0) {
        struct routed routed = {0};
        bool allowed = false;
        judge_token(&q);
        o = json_new_object();
        json_set(o, "token", token_json(&q));
        json_set(o, "policy", policy_json(&q, &allowed));
        json_set(o, "route", route_json(&q, &routed));
        conclude(&q, o, allowed, &routed);
    }
    ask_fini(&q);
    return o;
}

void l7_why_render(const struct l7 *w, struct slice query, unsigned *status, struct strbuf *out)
{
    struct diag why = {0};
    AUTO(json) struct json *o = l7_why_answer(w, query, clock_wall_s(), &why);

    if (!o) {
        *status = why.code == -ERR_NOT_FOUND ? 404 : 400;
        o = json_new_object();
        json_set_str(o, "error", why.text);
    }
    json_print(o, JSON_PRINT_INDENT, out);
}
