/* SPDX-License-Identifier: Apache-2.0 */
#include "obs/l7_json.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "model/l7_table.h"

const char *l7_route_kind_name(enum l7_route_kind k)
{
    static const char *const names[] = {
        [L7_HTTP_ROUTE] = "HTTPRoute", [L7_GRPC_ROUTE] = "GRPCRoute", [L7_TCP_ROUTE] = "TCPRoute"};

    return names[k];
}

/* ---- matches */

static void put_path(const struct l7_path_match *p, struct strbuf *out)
{
    switch (p->kind) {
    case L7_PATH_EXACT:
        strbuf_puts(out, p->value);
        break;
    case L7_PATH_PREFIX:
        strbuf_printf(out, "%s/...", p->value);
        break;
    case L7_PATH_REGEX:
        strbuf_printf(out, "~%s", p->value);
        break;
    }
}

static void put_value(const struct l7_value_match *v, const char *before, struct strbuf *out)
{
    strbuf_printf(out, " %s%s", before, v->name);
    if (v->kind != L7_VALUE_PRESENT) {
        strbuf_printf(out, "%s%s", v->kind == L7_VALUE_REGEX ? "~" : "=", v->value);
    }
}

void l7_match_text(const struct l7_match *m, struct strbuf *out)
{
    if (*m->method) {
        strbuf_printf(out, "%s ", m->method);
    }
    put_path(&m->path, out);
    for (size_t i = 0; i < m->header_count; i++) {
        put_value(&m->headers[i], "", out);
    }
    for (size_t i = 0; i < m->query_count; i++) {
        put_value(&m->query[i], "?", out);
    }
}

/* ---- filters, in words */

static void put_header_change(const char *whose, const struct l7_header_change *c,
                              struct strbuf *out)
{
    strbuf_printf(out, "%s headers:", whose);
    for (size_t i = 0; i < c->set_count; i++) {
        strbuf_printf(out, " set %s=%s", c->set[i].name, c->set[i].value);
    }
    for (size_t i = 0; i < c->add_count; i++) {
        strbuf_printf(out, " add %s=%s", c->add[i].name, c->add[i].value);
    }
    for (size_t i = 0; i < c->remove_count; i++) {
        strbuf_printf(out, " remove %s", c->remove[i]);
    }
}

static void put_path_change(const struct l7_path_change *c, struct strbuf *out)
{
    if (c->kind != L7_PATH_KEPT) {
        strbuf_printf(out, " %s %s", c->kind == L7_PATH_FULL ? "path" : "prefix", c->value);
    }
}

static void put_redirect(const struct l7_redirect *r, struct strbuf *out)
{
    strbuf_printf(out, "redirect %u", r->status);
    if (*r->scheme) {
        strbuf_printf(out, " scheme %s", r->scheme);
    }
    if (*r->hostname) {
        strbuf_printf(out, " host %s", r->hostname);
    }
    if (r->port > 0) {
        strbuf_printf(out, " port %u", r->port);
    }
    put_path_change(&r->path, out);
}

static void put_filter(const struct l7_filter *f, struct strbuf *out)
{
    switch (f->kind) {
    case L7_FILTER_REQUEST_HEADERS:
        put_header_change("request", &f->headers, out);
        break;
    case L7_FILTER_RESPONSE_HEADERS:
        put_header_change("response", &f->headers, out);
        break;
    case L7_FILTER_REDIRECT:
        put_redirect(&f->redirect, out);
        break;
    case L7_FILTER_REWRITE:
        strbuf_puts(out, "rewrite");
        if (*f->rewrite.hostname) {
            strbuf_printf(out, " host %s", f->rewrite.hostname);
        }
        put_path_change(&f->rewrite.path, out);
        break;
    case L7_FILTER_MIRROR:
        strbuf_printf(out, "mirror %u/%u to %s:%u", f->mirror.numerator, f->mirror.denominator,
                      f->mirror.backend.key, f->mirror.backend.port);
        break;
    case L7_FILTER_CORS:
        strbuf_puts(out, "cors");
        for (size_t i = 0; i < f->cors.allow_origin_count; i++) {
            strbuf_printf(out, " %s", f->cors.allow_origins[i]);
        }
        break;
    }
}

static struct json *filters_json(const struct l7_filter *filters, size_t count)
{
    struct json *list = json_new_array();

    for (size_t i = 0; i < count; i++) {
        AUTO(strbuf) struct strbuf b = {0};
        put_filter(&filters[i], &b);
        json_append_str(list, strbuf_text(&b));
    }
    return list;
}

/* ---- rules */

static struct json *backends_json(const struct l7_route *r)
{
    struct json *list = json_new_array();

    for (size_t i = 0; i < r->backend_count; i++) {
        const struct l7_backend *b = &r->backends[i];
        struct json *o = json_new_object();
        json_set_str(o, "service", b->key);
        json_set_int(o, "port", b->port);
        json_set_int(o, "weight", b->weight);
        json_set_str(o, "invalid", b->invalid);
        json_set(o, "filters", filters_json(b->filters, b->filter_count));
        json_append(list, o);
    }
    return list;
}

static struct json *names_json(const struct l7_value_match *values, size_t count)
{
    struct json *list = json_new_array();

    for (size_t i = 0; i < count; i++) {
        json_append_str(list, values[i].name);
    }
    return list;
}

static struct json *match_json(const struct l7_match *m)
{
    static const char *const kinds[] = {
        [L7_PATH_PREFIX] = "prefix", [L7_PATH_EXACT] = "exact", [L7_PATH_REGEX] = "regex"};
    struct json *o = json_new_object();
    AUTO(strbuf) struct strbuf text = {0};

    l7_match_text(m, &text);
    json_set_str(json_make_object(o, "path"), kinds[m->path.kind], m->path.value);
    json_set_str(o, "method", m->method);
    json_set(o, "headers", names_json(m->headers, m->header_count));
    json_set(o, "query", names_json(m->query, m->query_count));
    json_set_str(o, "text", strbuf_text(&text));
    return o;
}

static struct json *rule_json(const struct l7_route *r, const struct l7_match *m)
{
    struct json *o = json_new_object();

    json_set_str(o, "rule", r->label);
    json_set_str(o, "kind", l7_route_kind_name(r->kind));
    json_set_str(o, "routeNamespace", r->route_ns);
    json_set_str(o, "route", r->route_name);
    json_set_int(o, "index", r->rule);
    json_set(o, "match", match_json(m));
    json_set(o, "filters", filters_json(r->filters, r->filter_count));
    json_set(o, "backends", backends_json(r));
    json_set_int(o, "timeoutMs", (int64_t)r->request_timeout_ms);
    json_set_int(o, "backendTimeoutMs", (int64_t)r->backend_timeout_ms);
    json_set_int(o, "retries", r->retry.set ? r->retry.attempts : 0);
    json_set_str(o, "invalid", r->invalid);
    return o;
}

static void put_rules(struct json *o, const struct l7_rules *r)
{
    struct json *rules = json_make_array(o, "rules");

    for (size_t i = 0; r->table && i < l7_table_count(r->table); i++) {
        const struct l7_entry *e = l7_table_entry(r->table, i);
        json_append(rules, rule_json(e->route, e->match));
    }
    if (r->tcp) {
        json_set(o, "tcpBackends", backends_json(r->tcp));
    }
}

static struct json *port_json(const struct l7_port *p)
{
    struct json *o = json_new_object();
    struct json *consumers = json_make_array(o, "consumers");

    json_set_int(o, "port", p->port);
    json_set_str(o, "protocol", l7_protocol_name(p->protocol));
    put_rules(o, &p->rules);
    for (size_t i = 0; i < p->consumer_count; i++) {
        struct json *c = json_new_object();
        json_set_str(c, "namespace", p->consumers[i].ns);
        put_rules(c, &p->consumers[i].rules);
        json_append(consumers, c);
    }
    return o;
}

/* ---- policies */

static struct json *policies_json(struct l7_policies all)
{
    static const char *const actions[] = {
        [L7_ALLOW] = "ALLOW", [L7_DENY] = "DENY", [L7_AUDIT] = "AUDIT", [L7_CUSTOM] = "CUSTOM"};
    struct json *list = json_new_array();

    for (size_t i = 0; i < all.count; i++) {
        const struct l7_policy *p = all.at[i].policy;
        bool authorization = p->kind == L7_AUTHORIZATION;
        struct json *o = json_new_object();
        json_set_str(o, "namespace", p->ns);
        json_set_str(o, "name", p->name);
        if (authorization) {
            json_set_str(o, "action", actions[p->action]);
        }
        json_set_int(o, "rules", (int64_t)(authorization ? p->rule_count : p->jwt_rule_count));
        json_set_bool(o, "dryRun", p->dry_run);
        json_set_bool(o, "broken", p->broken);
        json_set_str(o, "flaw", p->flaw);
        json_append(list, o);
    }
    return list;
}

static struct json *service_json(const struct l7_service *s)
{
    struct json *o = json_new_object();
    struct json *ports = json_make_array(o, "ports");

    json_set_str(o, "service", s->key);
    json_set_bool(o, "served", s->binding != NULL);
    for (size_t i = 0; i < s->port_count; i++) {
        json_append(ports, port_json(&s->ports[i]));
    }
    json_set(o, "authorization", policies_json(s->authorization));
    json_set(o, "authentication", policies_json(s->authentication));
    return o;
}

/* ---- the whole */

static int by_key(const void *a, const void *b)
{
    const struct l7_service *const *x = a;
    const struct l7_service *const *y = b;

    return strcmp((*x)->key, (*y)->key);
}

void l7_json(struct json *into, const struct l7 *w)
{
    struct json *services = json_make_array(into, "bound");
    struct l7_cursor c = {0};
    const struct l7_service *s;
    size_t count = 0;
    size_t room = 0;
    const struct l7_service **all = NULL;

    while ((s = l7_each_service(w, &c)) != NULL) {
        if (count == room) {
            room = room > 0 ? room * 2 : 64;
            all = mem_resize(all, room * sizeof(*all));
        }
        all[count++] = s;
    }
    if (count > 0) {
        qsort(all, count, sizeof(*all), by_key);
    }
    for (size_t i = 0; i < count; i++) {
        json_append(services, service_json(all[i]));
    }
    mem_free(all);
    json_set(into, "waypointAuthorization", policies_json(l7_authorization(w)));
    json_set(into, "waypointAuthentication", policies_json(l7_authentication(w)));
}
