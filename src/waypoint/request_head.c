/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/num.h"
#include "http/status.h"
#include "waypoint/request_int.h"

static const char *const hex = "0123456789abcdef";

/* ---- changes that routes ask for */

static bool is_named(const char *const *names, size_t count, struct slice name)
{
    for (size_t i = 0; i < count; i++) {
        if (slice_is(name, names[i])) {
            return true;
        }
    }
    return false;
}

static bool is_set(const struct l7_header_change *c, struct slice name)
{
    for (size_t i = 0; i < c->set_count; i++) {
        if (slice_is(name, c->set[i].name)) {
            return true;
        }
    }
    return false;
}

static void copy_parts(struct message *to, const struct message *from)
{
    to->status = from->status;
    for (unsigned i = 0; i < MESSAGE_PARTS; i++) {
        struct slice s = message_get(from, (enum message_part)i);
        if (s.len > 0) {
            message_set(to, (enum message_part)i, s);
        }
    }
}

/* The host is a part of the head, not a field of it. */
static void put_changed(struct message *m, const struct l7_header *h)
{
    if (strcmp(h->name, "host") == 0) {
        message_set(m, MESSAGE_AUTHORITY, slice_of(h->value));
    } else {
        message_puts(m, h->name, h->value);
    }
}

void request_head_change(struct request *q, struct message *m, const struct l7_header_change *c)
{
    struct message *to = &q->spare;

    message_clear(to);
    copy_parts(to, m);
    for (unsigned i = 0; i < m->count; i++) {
        struct message_field f = message_field(m, i);
        if (!is_named(c->remove, c->remove_count, f.name) && !is_set(c, f.name)) {
            message_add(to, f.name, f.value);
        }
    }
    for (size_t i = 0; i < c->set_count; i++) {
        put_changed(to, &c->set[i]);
    }
    for (size_t i = 0; i < c->add_count; i++) {
        put_changed(to, &c->add[i]);
    }
    struct message was = *m;
    *m = *to;
    *to = was;
}

static void apply_filters(struct request *q, const struct l7_filter *filters, size_t count,
                          enum l7_filter_kind kind)
{
    for (size_t i = 0; i < count; i++) {
        if (filters[i].kind == kind) {
            request_head_change(q, &q->out, &filters[i].headers);
        }
    }
}

/* Rule first, then the backend that was drawn. */
static void apply_changes(struct request *q, enum l7_filter_kind kind)
{
    const struct request_plan *p = &q->plan;

    if (p->route) {
        apply_filters(q, p->route->filters, p->route->filter_count, kind);
    }
    if (p->backend) {
        apply_filters(q, p->backend->filters, p->backend->filter_count, kind);
    }
}

/* ---- to the server */

/* Whether name begins as text does, to a program that reads '_' as '-', as those behind CGI do: what
 * we say must not be said beside it by a client who spells it differently. */
static bool folds_to_prefix(struct slice name, const char *text)
{
    size_t i = 0;

    for (; text[i] && i < name.len; i++) {
        char a = name.p[i] == '_' ? '-' : name.p[i];
        char b = text[i] == '_' ? '-' : text[i];
        if (a != b) {
            return false;
        }
    }
    return text[i] == '\0';
}

static bool folds_to(struct slice name, const char *text)
{
    return strlen(text) == name.len && folds_to_prefix(name, text);
}

/* What clients may not say, and what is said anew. Control headers of other proxies would let a
 * client steer what was configured. */
static bool is_dropped_up(struct slice name)
{
    if (name.p[0] == 'x') {
        return folds_to_prefix(name, "x-envoy-") || folds_to(name, "x-forwarded-client-cert") ||
               folds_to(name, "x-request-id") || folds_to(name, "x-forwarded-proto");
    }
    return name.p[0] == 't' && slice_is(name, "te");
}

static void make_request_id(struct request *q)
{
    uint64_t r[2] = {rand_seq_next(&q->store->engine->random),
                     rand_seq_next(&q->store->engine->random)};
    uint8_t b[16];
    char *p = q->request_id;

    memcpy(b, r, sizeof(b));
    b[6] = (uint8_t)((b[6] & 0x0fu) | 0x40u); /* version 4 (RFC 9562 5.4) */
    b[8] = (uint8_t)((b[8] & 0x3fu) | 0x80u);
    for (unsigned i = 0; i < sizeof(b); i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10) {
            *p++ = '-';
        }
        *p++ = hex[b[i] >> 4];
        *p++ = hex[b[i] & 15];
    }
    *p = '\0';
}

static void put_request_id(struct request *q)
{
    struct slice id;

    if (!message_find(&q->down->in, "x-request-id", &id) || id.len == 0) {
        if (q->request_id[0] == '\0') {
            make_request_id(q);
        }
        id = slice_of(q->request_id);
    }
    message_add(&q->out, slice_of("x-request-id"), id);
    q->record.request_id = id;
}

static void put_proto(struct request *q)
{
    struct slice proto;
    bool known = message_find(&q->down->in, "x-forwarded-proto", &proto) &&
                 (slice_is(proto, "http") || slice_is(proto, "https"));

    message_puts(&q->out, "x-forwarded-proto",
                 known && slice_is(proto, "https") ? "https" : "http");
}

static void put_client(struct request *q)
{
    const struct entry *e = &q->session->entry;

    if (e->engine->config->xfcc && e->peer) {
        strbuf_clear(&q->text);
        strbuf_printf(&q->text, "By=%s;URI=%s", e->engine->identity->uri, e->peer->uri);
        message_add(&q->out, slice_of("x-forwarded-client-cert"),
                    (struct slice){strbuf_text(&q->text), q->text.len});
    }
}

static void put_token_headers(struct request *q)
{
    for (size_t i = 0; q->has_auth && i < q->auth.header_count; i++) {
        if (q->auth.headers[i].value) {
            message_puts(&q->out, q->auth.headers[i].name, q->auth.headers[i].value);
        }
    }
}

static bool is_token_header(const struct request *q, struct slice name)
{
    for (size_t i = 0; q->has_auth && i < q->auth.header_count; i++) {
        if (folds_to(name, q->auth.headers[i].name)) {
            return true;
        }
    }
    return false;
}

static void put_path(struct request *q, const struct l7_path_change *change)
{
    struct slice path = q->view.path;

    strbuf_clear(&q->text);
    if (change->kind != L7_PATH_KEPT) {
        l7_path_apply(change, q->plan.match, path, &q->text);
        message_add(&q->out, slice_of("x-envoy-original-path"),
                    message_get(&q->down->in, MESSAGE_PATH));
    } else {
        strbuf_add(&q->text, path.p, path.len);
    }
    if (q->query.p) {
        strbuf_putc(&q->text, '?');
        strbuf_add(&q->text, q->query.p, q->query.len);
    }
    message_set(&q->out, MESSAGE_PATH, (struct slice){strbuf_text(&q->text), q->text.len});
}

static void put_start(struct request *q)
{
    struct l7_rewrite w = l7_rewrite_of(q->plan.route, q->plan.backend);
    const struct message *in = &q->down->in;
    struct slice protocol = message_get(in, MESSAGE_PROTOCOL);

    message_set(&q->out, MESSAGE_METHOD, message_get(in, MESSAGE_METHOD));
    message_set(&q->out, MESSAGE_SCHEME, slice_of("http"));
    message_set(&q->out, MESSAGE_AUTHORITY,
                *w.hostname ? slice_of(w.hostname) : message_get(in, MESSAGE_AUTHORITY));
    if (protocol.len > 0) {
        message_set(&q->out, MESSAGE_PROTOCOL, protocol);
    }
    put_path(q, &w.path);
}

bool request_hops(const struct request *q, uint64_t *out)
{
    const struct message *in = &q->down->in;
    struct slice v;

    return message_is_method(in, "OPTIONS") && message_find(in, "max-forwards", &v) &&
           num_parse_u64(v.p, v.len, UINT64_MAX, out) == 0;
}

/* One hop less is left; what is no number is not ours to read. */
static void put_hops(struct request *q, const struct message_field *f)
{
    uint64_t hops = 0;

    if (request_hops(q, &hops) && hops > 0) {
        message_put_u64(&q->out, "max-forwards", hops - 1);
    } else {
        message_add(&q->out, f->name, f->value);
    }
}

/* Servers send trailers only to who says so; gRPC cannot do without. */
static void put_te(struct request *q)
{
    struct slice te;

    if (q->grpc || (message_find(&q->down->in, "te", &te) && slice_is(te, "trailers"))) {
        message_puts(&q->out, "te", "trailers");
    }
}

/* A field that is the mesh's to say, in the head or behind the body: a server may take the one for the other
 * (RFC 9110 6.5.1). */
static bool drops(const struct request *q, struct slice name)
{
    return is_dropped_up(name) || is_token_header(q, name);
}

const struct message *request_trailers_up(struct request *q)
{
    const struct message *in = &q->down->in_trailers;

    if (in->count == 0) {
        return in; /* spare may hold what an upgrade left there */
    }
    message_clear(&q->spare);
    for (unsigned i = 0; i < in->count; i++) {
        struct message_field f = message_field(in, i);
        if (!drops(q, f.name)) {
            message_add(&q->spare, f.name, f.value);
        }
    }
    return &q->spare;
}

void request_head_up(struct request *q)
{
    const struct message *in = &q->down->in;

    message_clear(&q->out);
    put_start(q);
    for (unsigned i = 0; i < in->count; i++) {
        struct message_field f = message_field(in, i);
        if (f.name.p[0] == 'm' && slice_is(f.name, "max-forwards")) {
            put_hops(q, &f);
        } else if (!drops(q, f.name)) {
            message_add(&q->out, f.name, f.value);
        }
    }
    put_request_id(q);
    put_proto(q);
    put_client(q);
    put_token_headers(q);
    message_put_u64(&q->out, "x-envoy-attempt-count", q->tries);
    if (q->request_due_ms > 0) {
        uint64_t now = request_now(q);
        message_put_u64(&q->out, "x-envoy-expected-rq-timeout-ms",
                        q->request_due_ms > now ? q->request_due_ms - now : 1);
    }
    put_te(q);
    apply_changes(q, L7_FILTER_REQUEST_HEADERS);
}

/* ---- to the client */

static bool is_dropped_down(const struct request *q, struct slice name)
{
    static const char *const names[] = {"x-envoy-upstream-service-time", "x-envoy-peer-metadata",
                                        "x-envoy-peer-metadata-id", "x-envoy-decorator-operation"};

    if (name.p[0] == 's') {
        return q->store->engine->config->server_header[0] && slice_is(name, "server");
    }
    return name.p[0] == 'x' && is_named(names, ARRAY_LEN(names), name);
}

static void put_text(struct message *m, const char *name, const struct strbuf *value)
{
    if (value->len > 0) {
        message_add(m, slice_of(name), (struct slice){value->p, value->len});
    }
}

static void put_cors(struct request *q)
{
    const struct l7_cors_headers *h = &q->cors;

    if (!q->has_cors || !q->cors_verdict.allowed) {
        return;
    }
    put_text(&q->out, "access-control-allow-origin", &h->allow_origin);
    put_text(&q->out, "access-control-allow-methods", &h->allow_methods);
    put_text(&q->out, "access-control-allow-headers", &h->allow_headers);
    put_text(&q->out, "access-control-expose-headers", &h->expose_headers);
    put_text(&q->out, "access-control-max-age", &h->max_age);
    if (q->cors_verdict.credentials) {
        message_puts(&q->out, "access-control-allow-credentials", "true");
    }
    if (h->allow_origin.len > 0 &&
        !slice_is((struct slice){h->allow_origin.p, h->allow_origin.len}, "*")) {
        message_puts(&q->out, "vary", "origin");
    }
}

static void put_server(struct request *q)
{
    const char *name = q->store->engine->config->server_header;

    if (name[0]) {
        message_puts(&q->out, "server", name);
    }
}

static void put_date(struct request *q)
{
    struct slice given;
    char date[HTTP_DATE_TEXT];

    if (q->down->version == EXCHANGE_HTTP2 && !message_find(&q->out, "date", &given)) {
        http_date(clock_wall_s(), date);
        message_puts(&q->out, "date", date);
    }
}

static void put_cookie(struct request *q)
{
    const struct l7_traffic *t =
        q->set_cookie ? l7_service_traffic(request_service(q, q->plan.backend), q->plan.port)
                      : NULL;

    if (t && t->hash.cookie && t->hash.cookie[0]) {
        strbuf_clear(&q->text);
        strbuf_printf(&q->text, "%s=\"%s\"", t->hash.cookie, q->cookie);
        if (t->hash.cookie_ttl_ms > 0) {
            strbuf_printf(&q->text, "; Max-Age=%llu",
                          (unsigned long long)(t->hash.cookie_ttl_ms / 1000));
        }
        if (t->hash.cookie_path && t->hash.cookie_path[0]) {
            strbuf_printf(&q->text, "; Path=%s", t->hash.cookie_path);
        }
        strbuf_puts(&q->text, "; HttpOnly");
        message_puts(&q->out, "set-cookie", strbuf_text(&q->text));
    }
}

void request_head_down(struct request *q, const struct message *in)
{
    message_clear(&q->out);
    q->out.status = in->status;
    for (unsigned i = 0; i < in->count; i++) {
        struct message_field f = message_field(in, i);
        if (!is_dropped_down(q, f.name)) {
            message_add(&q->out, f.name, f.value);
        }
    }
    if (in->status < 200 && in->status != 101) {
        return;
    }
    put_server(q);
    message_put_u64(&q->out, "x-envoy-upstream-service-time", request_now(q) - q->sent_ms);
    put_cors(q);
    put_cookie(q);
    put_date(q);
    apply_changes(q, L7_FILTER_RESPONSE_HEADERS);
}

/* ---- of our own */

/* A message as gRPC wants it: percent-encoded outside of visible ASCII. */
static void put_grpc_message(struct request *q, const char *text)
{
    AUTO(strbuf) struct strbuf out = {0};

    for (const char *p = text; *p; p++) {
        unsigned char c = (unsigned char)*p;
        if (c >= 0x20 && c < 0x7f && c != '%') {
            strbuf_putc(&out, *p);
        } else {
            strbuf_printf(&out, "%%%02X", c);
        }
    }
    if (out.len > 0) {
        message_puts(&q->out, "grpc-message", strbuf_text(&out));
    }
}

static void put_grpc_status(struct request *q)
{
    q->record.grpc_status = request_grpc_status(q->reply.status);
    message_put_u64(&q->out, "grpc-status", (uint64_t)q->record.grpc_status);
    put_grpc_message(q, q->reply.body);
}

void request_head_trailers(struct request *q)
{
    message_clear(&q->out);
    put_grpc_status(q);
}

void request_head_reply(struct request *q)
{
    const struct request_reply *r = &q->reply;

    q->out.status = r->status;
    if (q->grpc) {
        q->out.status = 200;
        message_puts(&q->out, "content-type", "application/grpc");
        put_grpc_status(q);
    } else {
        size_t len = strlen(r->body);
        if (len > 0) {
            message_puts(&q->out, "content-type", "text/plain");
        }
        if (r->status != 204 && r->status != 304) {
            message_put_u64(&q->out, "content-length", len);
        }
    }
    if (r->overloaded) {
        message_puts(&q->out, "x-envoy-overloaded", "true");
    }
    put_server(q);
    put_cors(q);
    put_date(q);
}
