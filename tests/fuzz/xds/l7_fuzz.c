/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A waypoint's resources off the wire, into a snapshot, and requests against it. The input is a row
 * of resources, each behind two bytes of length and one of type, and after them texts for requests.
 * What an indexed table finds must be what trying every entry in order finds; a broken policy must
 * never allow; whatever was compiled must go when its resources go.
 */
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "model/l7.h"
#include "model/l7_apply.h"
#include "model/l7_authz.h"
#include "model/l7_table.h"
#include "xds/waypoint.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { RESOURCES_MAX = 64 };

static void put(struct l7_delta *d, unsigned type, struct slice bytes, const char *name)
{
    const struct l7_binding *b = NULL;
    const struct l7_route *r = NULL;
    const struct l7_policy *p = NULL;
    const struct l7_traffic *x = NULL;
    struct diag why = {.code = 0};
    int c = 0;

    switch (type % 4) {
    case 0:
        c = xds_l7_binding_decode(&b, bytes, name, "", &why);
        (void)(c == 0 && l7_put_binding(d, b));
        break;
    case 1:
        c = xds_l7_route_decode(&r, bytes, name, "", &why);
        (void)(c == 0 && l7_put_route(d, r));
        break;
    case 2:
        c = xds_l7_policy_decode(&p, bytes, name, "", &why);
        assert(p && p->broken == (c < 0));
        (void)l7_put_policy(d, p);
        break;
    default:
        c = xds_l7_traffic_decode(&x, bytes, name, "", &why);
        (void)(c == 0 && l7_put_traffic(d, x));
    }
    assert(c == 0 || (why.text[0] != '\0' && why.code == c));
}

static struct slice no_header(void *arg, const char *name)
{
    const char *text = arg;

    /* Every other header is there, with the text of the query. */
    return strlen(name) % 2 ? slice_of(text) : (struct slice){NULL, 0};
}

static void ask_table(const struct l7_table *t, const struct l7_request *q)
{
    struct l7_hit hit = l7_table_find(t, q);
    AUTO(strbuf) struct strbuf text = {0};
    const struct l7_entry *want = NULL;
    unsigned unknown = 0;

    for (size_t i = 0; !want && i < l7_table_count(t); i++) {
        const struct l7_entry *e = l7_table_entry(t, i);
        want = l7_match_holds(e->match, q, &unknown) ? e : NULL;
    }
    assert(hit.match == (want ? want->match : NULL));
    if (!hit.route) {
        return;
    }
    const struct l7_backend *b = NULL;
    enum l7_refusal how = l7_pick_backend(hit.route, 7, &b);
    assert((how == L7_FOLLOWED || how == L7_BAD_BACKEND) == (b != NULL));
    if (hit.route->redirect) {
        struct l7_came came = {"http", 80};
        l7_redirect_location(hit.route->redirect, hit.match, q, &came, &text);
        assert(strstr(strbuf_text(&text), "://"));
    }
    struct l7_rewrite w = l7_rewrite_of(hit.route, b);
    if (w.path.kind != L7_PATH_KEPT) {
        strbuf_clear(&text);
        l7_path_apply(&w.path, hit.match, q->path, &text);
        assert(text.len > 0);
    }
    if (hit.route->cors) {
        struct l7_cors_headers h = {.max_age = {0}};
        struct l7_cors_verdict v = l7_cors_decide(hit.route->cors, q, &h);
        assert(v.allowed == (h.allow_origin.len > 0) || !v.allowed ||
               l7_request_header(q, "origin").len == 0);
        l7_cors_headers_fini(&h);
    }
}

static void ask(const struct l7 *w, const struct l7_request *q)
{
    struct l7_cursor c = {0};

    for (const struct l7_service *s; (s = l7_each_service(w, &c));) {
        struct l7_authz v = l7_authorize(w, s, q);
        struct l7_authz tcp = l7_authorize_tcp(w, s, q->conn);
        char buf[L7_AUTHZ_TEXT];
        for (size_t i = 0; i < s->authorization.count; i++) {
            assert(!s->authorization.at[i].policy->broken || (!v.allowed && !tcp.allowed));
        }
        assert(strlen(l7_authz_text(&v, buf)) > 0);
        for (size_t i = 0; i < s->port_count; i++) {
            if (s->ports[i].rules.table) {
                ask_table(s->ports[i].rules.table, q);
            }
            assert(l7_service_port(s, s->ports[i].port) == &s->ports[i]);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    AUTO(l7) const struct l7 *empty = l7_new(NULL, NULL);
    struct l7_delta *d = l7_delta_new(empty);
    unsigned n = 0;
    char name[32];

    for (; n < RESOURCES_MAX && size >= 3 && data[2] != 0xff; n++) {
        size_t len = (size_t)data[0] << 8 | data[1];
        len = len <= size - 3 ? len : size - 3;
        (void)snprintf(name, sizeof(name), "w/w/%u", n);
        put(d, data[2], (struct slice){(const char *)data + 3, len}, name);
        data += 3 + len;
        size -= 3 + len;
    }
    AUTO(l7) const struct l7 *w = l7_next(d);
    char query[64] = "";
    memcpy(query, data, size < sizeof(query) ? size : sizeof(query) - 1);
    struct l7_conn conn = {.source.ip.family = IP_V4, .destination.port = 80};
    struct l7_request q = {.conn = &conn,
                           .method = slice_of("GET"),
                           .authority = slice_of("h"),
                           .path = {size > 0 ? (const char *)data : "/", size > 0 ? size : 1},
                           .query = slice_of(query),
                           .header = no_header,
                           .header_arg = query};
    ask(w, &q);
    d = l7_delta_new(w);
    for (unsigned i = 0; i < n; i++) {
        (void)snprintf(name, sizeof(name), "w/w/%u", i);
        for (int type = 0; type < L7_TYPES; type++) {
            (void)l7_remove(d, (enum l7_type)type, name);
        }
    }
    AUTO(l7) const struct l7 *gone = l7_next(d);
    struct l7_cursor c = {0};
    assert(!l7_each_service(gone, &c) && l7_authorization(gone).count == 0);
    return 0;
}
