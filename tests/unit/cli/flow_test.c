/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "base/str.h"
#include "cli/flow_view.h"
#include "cli/route_view.h"
#include "codec/json.h"
#include "codec/yaml.h"
#include "t.h"

static struct json *read_yaml(const char *text)
{
    AUTO(json) struct json *all = NULL;

    return yaml_parse_all(&all, text, strlen(text), NULL) == 0 ? json_ref(json_item(all, 0)) : NULL;
}

TEST(a_service_is_meant_by_any_of_its_names)
{
    static const struct {
        const char *word;
        const char *ns;
        bool meant;
    } rows[] = {
        {"cart", NULL, true},           {"cart", "shop", true},
        {"cart", "other", false},       {"shop/cart", "other", true},
        {"other/cart", NULL, false},    {"cart.shop", "other", true},
        {"cart.other", NULL, false},    {"cart.shop.svc.cluster.local", NULL, true},
        {"car", NULL, false},           {"cart2", NULL, false},
        {"shop/cart.shop", NULL, true}, {"", NULL, false},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        CHECK_INT(route_view_is_named("shop/cart.shop.svc.cluster.local", rows[i].word, rows[i].ns),
                  rows[i].meant);
    }
}

static const char table[] =
    "{service: shop/cart.shop.svc.cluster.local, served: true, ports: ["
    "{port: 80, protocol: HTTP, rules: ["
    "{rule: shop.r.0, kind: HTTPRoute, routeNamespace: shop, route: r, index: 0, match: {text: "
    "'GET "
    "/v2/...'}, filters: ['rewrite host x'], timeoutMs: 1500, retries: 2, invalid: '', backends: ["
    "{service: shop/v1.shop.svc.cluster.local, port: 80, weight: 9, invalid: ''}, "
    "{service: other/v2.other.svc.cluster.local, port: 81, weight: 1, invalid: ''}]}, "
    "{rule: shop.r.1, kind: HTTPRoute, routeNamespace: shop, route: r, match: {path: {prefix: "
    "/old}, "
    "method: PUT}, backends: [{service: shop/gone.shop.svc.cluster.local, port: 80, weight: 1, "
    "invalid: "
    "'no such service'}]}]}, "
    "{port: 5432, protocol: TCP}], "
    "authorization: [{namespace: shop, name: p, action: DENY}, {namespace: shop, name: q, broken: "
    "true}], "
    "authentication: [{namespace: shop, name: jwt}]}";

TEST(a_compiled_table_becomes_rows_in_its_order)
{
    AUTO(json) struct json *service = read_yaml(table);
    AUTO(json) struct json *rows = json_new_array();
    AUTO(strbuf) struct strbuf verdict = {0};
    AUTO(strbuf) struct strbuf policies = {0};

    route_view_service(service, "shop/way", rows);
    CHECK_INT(json_count(rows), 3);
    const struct json *first = json_item(rows, 0);
    const struct json *second = json_item(rows, 1);
    const struct json *third = json_item(rows, 2);
    CHECK_STR(json_str_at(first, "match", ""), "GET /v2/...");
    CHECK_STR(json_str_at(first, "route", ""), "shop/r");
    CHECK_STR(json_str(json_item(json_get(first, "backends"), 0), ""), "v1:80 90%");
    CHECK_STR(json_str(json_item(json_get(first, "backends"), 1), ""), "other/v2:81 10%");
    CHECK_INT(json_int_at(first, "timeout_ms", 0), 1500);
    CHECK_STR(json_str_at(second, "match", ""), "PUT /old/...");
    CHECK_STR(json_str(json_item(json_get(second, "backends"), 0), ""),
              "gone:80 INVALID (no such service)");
    CHECK_STR(json_str_at(second, "state", ""), "100% answered 500");
    CHECK_STR(json_str_at(third, "match", ""), "everything");
    CHECK_STR(json_str(json_item(json_get(third, "backends"), 0), ""), "straight to its endpoints");
    CHECK(!route_view_verdict(rows, &verdict));
    CHECK_STR(strbuf_text(&verdict),
              "PROBLEM: 3 matches of 1 service, tried from the top; 1 cannot be followed");
    route_view_policies(service, &policies);
    CHECK_STR(strbuf_text(&policies),
              "  DENY shop/p\n  policy shop/q BROKEN: denies\n  JWT shop/jwt\n");
}

TEST(what_cannot_be_followed_says_what_becomes_of_the_request)
{
    static const struct {
        const char *rule;
        const char *state;
        const char *backend;
    } rows[] = {
        {"filters: ['redirect 301 scheme https'], backends: []", "ok", ""},
        {"backends: []", "no backend: answered 500", ""},
        {"backends: [{service: shop/a.b, port: 80, weight: 0}]", "no backend: answered 500",
         "a:80"},
        {"backends: [{service: /, port: 0, weight: 1, invalid: gone}, {service: shop/a.b, port: "
         "80, "
         "weight: 3}]",
         "25% answered 500", "INVALID (gone) 25%"},
        {"invalid: a bad filter, backends: [{service: shop/a.b, port: 80}]", "a bad filter",
         "a:80"},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        AUTO(strbuf) struct strbuf text = {0};
        AUTO(strbuf) struct strbuf verdict = {0};
        AUTO(json) struct json *list = json_new_array();
        strbuf_printf(&text,
                      "{service: shop/cart.shop, ports: [{port: 80, protocol: HTTP, rules: [{kind: "
                      "HTTPRoute, %s}]}]}",
                      rows[i].rule);
        AUTO(json) struct json *service = read_yaml(strbuf_text(&text));
        route_view_service(service, "shop/way", list);
        const struct json *row = json_item(list, 0);
        CHECK_STR(json_str_at(row, "state", ""), rows[i].state);
        CHECK_STR(json_str(json_item(json_get(row, "backends"), 0), ""), rows[i].backend);
        CHECK(route_view_verdict(list, &verdict) == (strcmp(rows[i].state, "ok") == 0));
    }
}

TEST(rules_of_consumers_come_first_and_say_whose_they_are)
{
    AUTO(json)
    struct json *service =
        read_yaml("{service: shop/cart.shop.svc.cluster.local, served: true, ports: [{port: 80, "
                  "protocol: HTTP, rules: [], consumers: [{namespace: desk, rules: [{kind: "
                  "HTTPRoute, routeNamespace: desk, route: r, match: {text: 'GET /'}, backends: "
                  "[]}]}]}]}");
    AUTO(json) struct json *rows = json_new_array();

    route_view_service(service, "shop/way", rows);
    CHECK_INT(json_count(rows), 2);
    CHECK_STR(json_str_at(json_item(rows, 0), "match", ""), "GET /, clients of namespace desk");
    CHECK_STR(json_str_at(json_item(rows, 0), "clients", ""), "desk");
    CHECK_STR(json_str_at(json_item(rows, 1), "match", ""), "everything");
    CHECK_STR(json_str_at(json_item(rows, 1), "clients", "everybody"), "everybody");
}

TEST(requests_and_connections_read_alike)
{
    static const struct {
        const char *record;
        const char *line;
    } rows[] = {
        {"{time: T, status: 200, duration_us: 1500, method: GET, path: /a, source: shop/web, "
         "destination: "
         "shop/cart-1, service: cart, route: shop.r.0, flags: '-', details: via_upstream}",
         "T  w-1  ok      L7  shop/web -> shop/cart-1 as cart  GET /a 200 by shop.r.0, 1.5 ms\n"},
        {"{time: T, status: 403, duration_us: 100, method: DELETE, path: /a, source: shop/web, "
         "destination: '', "
         "service: cart, flags: '-', details: 'rbac_access_denied_matched_policy[none]'}",
         "T  w-1  DENIED  L7  shop/web -> - as cart  DELETE /a 403, 0.1 ms  "
         "rbac_access_denied_matched_policy[none]\n"},
        {"{time: T, status: 403, method: GET, path: /b, source: a, destination: b, flags: '-', "
         "details: "
         "via_upstream}",
         "T  w-1  ok      L7  a -> b  GET /b 403, 0.0 ms\n"},
        {"{time: T, status: 503, method: GET, path: /, source: a, destination: b, flags: UH, "
         "details: "
         "no_healthy_upstream}",
         "T  w-1  FAILED  L7  a -> b  GET / 503, 0.0 ms  no_healthy_upstream\n"},
        {"{time: T, status: 200, method: GET, path: \"/\\e[2J\\x7f\", source: a, destination: /, "
         "flags: '-', "
         "details: via_upstream}",
         "T  w-1  ok      L7  a -> -  GET /?[2J? 200, 0.0 ms\n"},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        AUTO(json) struct json *list = json_new_array();
        AUTO(json) struct json *out = json_new_array();
        AUTO(strbuf) struct strbuf b = {0};
        json_append(list, read_yaml(rows[i].record));
        flow_view_requests(list, "w-1", out);
        flow_view_line(json_item(out, 0), false, &b);
        CHECK_STR(strbuf_text(&b), rows[i].line);
    }
}
