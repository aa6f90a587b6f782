/* SPDX-License-Identifier: Apache-2.0 */
/* A waypoint's bindings, routes and traffic settings to the wire (proto/waypoint.proto). */
#include <string.h>

#include "codec/pbwrite.h"
#include "xds/waypoint.h"

/* ---- bindings */

void xds_l7_binding_encode(struct strbuf *out, const struct l7_binding *b)
{
    pb_put_text(out, 1, b->ns);
    pb_put_text(out, 2, b->hostname);
    for (size_t i = 0; i < b->port_count; i++) {
        size_t at = pb_open(out, 3);
        pb_put_number(out, 1, b->ports[i].port);
        pb_put_number(out, 2, b->ports[i].protocol);
        pb_close(out, at);
    }
}

/* ---- what matches */

static void put_path(struct strbuf *out, const struct l7_path_match *p)
{
    if (p->kind == L7_PATH_PREFIX && (!p->value || !*p->value)) {
        return;
    }
    size_t at = pb_open(out, 1);
    pb_put_number(out, 1, p->kind);
    pb_put_text(out, 2, p->value);
    pb_close(out, at);
}

static void put_values(struct strbuf *out, uint32_t field, const struct l7_value_match *v, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        size_t at = pb_open(out, field);
        pb_put_text(out, 1, v[i].name);
        pb_put_number(out, 2, v[i].kind);
        pb_put_text(out, 3, v[i].value);
        pb_close(out, at);
    }
}

static void put_match(struct strbuf *out, const struct l7_match *m)
{
    size_t at = pb_open(out, 10);

    put_path(out, &m->path);
    pb_put_text(out, 2, m->method);
    put_values(out, 3, m->headers, m->header_count);
    put_values(out, 4, m->query, m->query_count);
    pb_close(out, at);
}

/* ---- filters and backends */

static void put_texts(struct strbuf *out, uint32_t field, const char *const *at, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        pb_put_element(out, field, at[i], strlen(at[i]));
    }
}

static void put_headers(struct strbuf *out, uint32_t field, const struct l7_header *h, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        size_t at = pb_open(out, field);
        pb_put_text(out, 1, h[i].name);
        pb_put_text(out, 2, h[i].value);
        pb_close(out, at);
    }
}

static void put_change(struct strbuf *out, const struct l7_header_change *c)
{
    put_headers(out, 1, c->set, c->set_count);
    put_headers(out, 2, c->add, c->add_count);
    put_texts(out, 3, c->remove, c->remove_count);
}

static void put_path_change(struct strbuf *out, uint32_t field, const struct l7_path_change *c)
{
    if (c->kind != L7_PATH_KEPT) {
        size_t at = pb_open(out, field);
        pb_put_number(out, 1, c->kind);
        pb_put_text(out, 2, c->value);
        pb_close(out, at);
    }
}

static void put_redirect(struct strbuf *out, const struct l7_redirect *r)
{
    pb_put_text(out, 1, r->scheme);
    pb_put_text(out, 2, r->hostname);
    pb_put_number(out, 3, r->port);
    put_path_change(out, 4, &r->path);
    pb_put_number(out, 5, r->status);
}

static void put_cors(struct strbuf *out, const struct l7_cors *c)
{
    put_texts(out, 1, c->allow_origins, c->allow_origin_count);
    put_texts(out, 2, c->allow_methods, c->allow_method_count);
    put_texts(out, 3, c->allow_headers, c->allow_header_count);
    put_texts(out, 4, c->expose_headers, c->expose_header_count);
    pb_put_number(out, 5, c->allow_credentials);
    pb_put_number(out, 6, c->max_age_s);
}

static void put_backend(struct strbuf *out, uint32_t field, const struct l7_backend *b);

static void put_mirror(struct strbuf *out, const struct l7_mirror *m)
{
    put_backend(out, 1, &m->backend);
    pb_put_number(out, 2, m->numerator);
    pb_put_number(out, 3, m->denominator);
}

static void put_filter(struct strbuf *out, uint32_t field, const struct l7_filter *f)
{
    size_t filter = pb_open(out, field);
    size_t what =
        pb_open(out, (uint32_t)f->kind + 1); /* the kinds stand as the oneof's members do */

    switch (f->kind) {
    case L7_FILTER_REQUEST_HEADERS:
    case L7_FILTER_RESPONSE_HEADERS:
        put_change(out, &f->headers);
        break;
    case L7_FILTER_REDIRECT:
        put_redirect(out, &f->redirect);
        break;
    case L7_FILTER_REWRITE:
        pb_put_text(out, 1, f->rewrite.hostname);
        put_path_change(out, 2, &f->rewrite.path);
        break;
    case L7_FILTER_MIRROR:
        put_mirror(out, &f->mirror);
        break;
    case L7_FILTER_CORS:
        put_cors(out, &f->cors);
        break;
    }
    pb_close(out, what);
    pb_close(out, filter);
}

static void put_backend(struct strbuf *out, uint32_t field, const struct l7_backend *b)
{
    size_t at = pb_open(out, field);

    pb_put_text(out, 1, b->ns);
    pb_put_text(out, 2, b->hostname);
    pb_put_number(out, 3, b->port);
    pb_put_number(out, 4, b->weight);
    for (size_t i = 0; i < b->filter_count; i++) {
        put_filter(out, 5, &b->filters[i]);
    }
    pb_put_text(out, 6, b->invalid);
    pb_put_number(out, 7, b->protocol);
    pb_close(out, at);
}

/* ---- routes */

static void put_retry(struct strbuf *out, const struct l7_retry *r)
{
    if (!r->set) {
        return;
    }
    size_t at = pb_open(out, 15);
    pb_put_number(out, 1, r->attempts);
    if (r->code_count > 0) {
        size_t codes = pb_open(out, 2);
        for (size_t i = 0; i < r->code_count; i++) {
            pb_put_varint(out, r->codes[i]);
        }
        pb_close(out, codes);
    }
    pb_put_number(out, 3, r->backoff_ms);
    pb_close(out, at);
}

static void put_rank(struct strbuf *out, const struct l7_route *r)
{
    pb_put_text(out, 1, r->ns);
    pb_put_text(out, 2, r->hostname);
    pb_put_number(out, 3, r->port);
    pb_put_number(out, 4, r->kind);
    pb_put_number(out, 5, (uint64_t)r->created_s);
    pb_put_text(out, 6, r->route_ns);
    pb_put_text(out, 7, r->route_name);
    pb_put_number(out, 8, r->rule);
    pb_put_text(out, 9, r->rule_name);
}

void xds_l7_route_encode(struct strbuf *out, const struct l7_route *r)
{
    put_rank(out, r);
    for (size_t i = 0; i < r->match_count; i++) {
        put_match(out, &r->matches[i]);
    }
    for (size_t i = 0; i < r->filter_count; i++) {
        put_filter(out, 11, &r->filters[i]);
    }
    for (size_t i = 0; i < r->backend_count; i++) {
        put_backend(out, 12, &r->backends[i]);
    }
    pb_put_number(out, 13, r->request_timeout_ms);
    pb_put_number(out, 14, r->backend_timeout_ms);
    put_retry(out, &r->retry);
    pb_put_text(out, 16, r->invalid);
    pb_put_text(out, 17, r->consumer);
}

/* ---- traffic */

static void put_hash(struct strbuf *out, const struct l7_hash_key *h)
{
    size_t at = pb_open(out, 5);

    pb_put_text(out, 1, h->header);
    pb_put_text(out, 2, h->cookie);
    pb_put_text(out, 3, h->query);
    pb_put_number(out, 4, h->source_ip);
    pb_put_number(out, 5, h->cookie_ttl_ms);
    pb_put_text(out, 6, h->cookie_path);
    pb_put_number(out, 7, h->make_cookie);
    pb_close(out, at);
}

static void put_outlier(struct strbuf *out, const struct l7_outlier *o)
{
    size_t at = pb_open(out, 7);

    pb_put_number(out, 1, o->consecutive_5xx);
    pb_put_number(out, 2, o->consecutive_gateway);
    pb_put_number(out, 3, o->interval_ms);
    pb_put_number(out, 4, o->base_ejection_ms);
    pb_put_number(out, 5, o->max_ejection_percent);
    pb_put_number(out, 6, o->min_health_percent);
    pb_close(out, at);
}

static void put_limits(struct strbuf *out, const struct l7_limits *l)
{
    size_t at = pb_open(out, 8);

    pb_put_number(out, 1, l->connections);
    pb_put_number(out, 2, l->connect_timeout_ms);
    pb_put_number(out, 3, l->pending_requests);
    pb_put_number(out, 4, l->requests);
    pb_put_number(out, 5, l->requests_per_connection);
    pb_put_number(out, 6, l->retries);
    pb_put_number(out, 7, l->idle_timeout_ms);
    pb_close(out, at);
}

void xds_l7_traffic_encode(struct strbuf *out, const struct l7_traffic *t)
{
    pb_put_text(out, 1, t->ns);
    pb_put_text(out, 2, t->hostname);
    pb_put_number(out, 3, t->port);
    pb_put_number(out, 4, t->balance);
    if (t->balance == L7_CONSISTENT_HASH) {
        put_hash(out, &t->hash);
    }
    pb_put_number(out, 6, t->locality_failover);
    if (t->outlier.consecutive_5xx > 0 || t->outlier.consecutive_gateway > 0) {
        put_outlier(out, &t->outlier);
    }
    put_limits(out, &t->limits);
}
