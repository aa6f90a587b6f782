/* SPDX-License-Identifier: Apache-2.0 */
#include "obs/l7_why.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "codec/json.h"
#include "l7_lab.h"
#include "obs/l7_json.h"
#include "t.h"
#include "tls/jwks.h"

#define TEXTS(...)                                                                                 \
    {                                                                                              \
        (const char *const[]){__VA_ARGS__},                                                        \
            sizeof((const char *const[]){__VA_ARGS__}) / sizeof(const char *)                      \
    }

static void put_binding(struct l7_delta *d, const char *host, const struct l7_bound_port *ports,
                        size_t count)
{
    char name[64];
    struct l7_binding b = {.resource = name,
                           .version = "1",
                           .ns = "ns",
                           .hostname = host,
                           .ports = ports,
                           .port_count = count};
    const struct l7_binding *made;

    (void)snprintf(name, sizeof(name), "w/w/ns/%s", host);
    if (l7_binding_new(&made, &b, NULL) < 0) {
        exit(1);
    }
    (void)l7_put_binding(d, made); /* new, so it changes something */
}

static void put_policy(struct l7_delta *d, const char *name, enum l7_action action,
                       const struct l7_rule *rule)
{
    char resource[96];
    struct l7_policy p = {.kind = L7_AUTHORIZATION,
                          .resource = resource,
                          .version = "1",
                          .ns = "ns",
                          .name = name,
                          .service_ns = "ns",
                          .service_hostname = "svc",
                          .action = action,
                          .rules = rule,
                          .rule_count = 1};
    const struct l7_policy *made;

    (void)snprintf(resource, sizeof(resource), "w/w/ns/svc/AuthorizationPolicy/ns/%s", name);
    if (l7_policy_new(&made, &p, NULL) < 0) {
        exit(1);
    }
    (void)l7_put_policy(d, made); /* likewise */
}

/* Clients of this namespace go elsewhere. */
static void put_consumer_route(struct l7_delta *d, const char *host, const char *consumer)
{
    char resource[96];
    struct l7_backend backend = {.ns = consumer, .hostname = "own", .port = 80, .weight = 1};
    struct l7_route r = {.resource = resource,
                         .version = "1",
                         .ns = "ns",
                         .hostname = host,
                         .route_ns = consumer,
                         .route_name = "r",
                         .backends = &backend,
                         .backend_count = 1,
                         .consumer = consumer};
    const struct l7_route *made;

    (void)snprintf(resource, sizeof(resource), "w/w/ns/%s/0/HTTPRoute/%s/r/0", host, consumer);
    if (l7_route_new(&made, &r, NULL) < 0) {
        exit(1);
    }
    (void)l7_put_route(d, made); /* new, so it changes something */
}

/* ns/svc: port 80 with routes to v1 and v2, 81 straight, 82 TCP. Web may GET and POST, nobody may
 * DELETE; of admin nothing matches. ns/bare has no policies, and routes for clients of
 * shop alone. */
static const struct l7 *build(void)
{
    static const struct l7_bound_port ports[] = {{80, L7_HTTP}, {81, L7_UNKNOWN}, {82, L7_TCP}};
    static const struct lab_rule rules[] = {
        {.matches = "GET /v2/a/ h:x-user=jane q:debug=1|=/tw%C3%B6",
         .backend = "v2",
         .route = "ns/r",
         .rule = 1},
        {.matches = "/v1", .backend = "v1", .route = "ns/r"}};
    struct l7_operation deletes = {.methods = TEXTS("DELETE")};
    struct l7_source web = {.principals = TEXTS("td/ns/shop/sa/web")};
    struct l7_rule deny = {.to = &deletes, .to_count = 1};
    struct l7_rule allow = {.from = &web, .from_count = 1};
    AUTO(l7) const struct l7 *empty = l7_new(NULL, NULL);
    struct l7_delta *d = l7_delta_new(empty);

    put_binding(d, "svc", ports, 3);
    put_binding(d, "bare", ports, 1);
    for (size_t i = 0; i < ARRAY_LEN(rules); i++) {
        (void)l7_put_route(d, lab_route(&rules[i])); /* likewise */
    }
    put_consumer_route(d, "bare", "shop");
    put_policy(d, "no-delete", L7_DENY, &deny);
    put_policy(d, "web-only", L7_ALLOW, &allow);
    return l7_next(d);
}

#define WEB "&identity=spiffe%3A%2F%2Ftd%2Fns%2Fshop%2Fsa%2Fweb"

TEST(a_request_meets_its_route_and_its_policy)
{
    static const struct {
        const char *query;
        const char *verdict;
        int status;
        const char *policy;
        const char *backend; /* of the rule; "" none */
        const char *text;    /* part of it */
    } rows[] = {
        {"to=ns/svc&port=80&path=/v1/x" WEB, "allow", 0, "ns/web-only", "ns/v1", ""},
        {"to=ns/svc&port=80&path=/tw%C3%B6" WEB, "allow", 0, "ns/web-only", "ns/v2", ""},
        {"to=ns/svc&port=80&path=%2Fv2%2Fa%2Fb%3Fdebug%3D1&header=X-User:+jane" WEB, "allow", 0,
         "ns/web-only", "ns/v2", ""},
        {"to=ns/"
         "svc&port=80&path=%2Fv2%2Fa%2Fb%3Fdebug%3D1&header=x-user:jane&header=X-User:eve" WEB,
         "deny", 404, "ns/web-only", "", "404: no route"},
        {"to=ns/svc&port=80&path=/v2/a" WEB, "deny", 404, "ns/web-only", "", "404: no route"},
        {"to=ns/svc&port=80&path=/a/../v1" WEB, "allow", 0, "ns/web-only", "ns/v1", ""},
        {"to=ns/svc&port=80&path=/v1&method=DELETE" WEB, "deny", 403, "ns/no-delete", "ns/v1",
         "403: DENY policy ns/no-delete rule 0 matches"},
        {"to=ns/svc&port=80&path=/v1", "deny", 403, "", "ns/v1",
         "403: ALLOW policies exist, none matches"},
        {"to=ns/svc&port=81&path=/v1" WEB, "allow", 0, "ns/web-only", "", ""},
        {"to=ns/svc&port=82" WEB, "deny", 403, "ns/no-delete", "", "the connection is ended"},
        {"to=ns/bare&port=80", "allow", 0, "", "", ""},
        {"to=ns/bare&port=80" WEB, "allow", 0, "", "shop/own", ""},
    };
    AUTO(l7) const struct l7 *w = build();

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct diag why = {0};
        AUTO(json) struct json *o = l7_why_answer(w, slice_of(rows[i].query), 0, &why);
        AUTO(strbuf) struct strbuf b = {0};
        json_print(o, JSON_PRINT_INDENT, &b);
        CHECK(o);
        CHECK_STR(json_str_at(o, "verdict", ""), rows[i].verdict);
        CHECK_INT(json_int_at(o, "status", -1), rows[i].status);
        CHECK_STR(json_str_at(o, "policy.policy", ""), rows[i].policy);
        CHECK_STR(json_str_at(json_item(json_at(o, "route.backends"), 0), "name", ""),
                  rows[i].backend);
        CHECK(strstr(json_str_at(o, "text", ""), rows[i].text));
    }
}

TEST(every_policy_that_was_looked_at_is_listed)
{
    AUTO(l7) const struct l7 *w = build();
    AUTO(json)
    struct json *o =
        l7_why_answer(w, slice_of("to=ns/svc&port=80&path=/v1&method=DELETE" WEB), 0, NULL);
    const struct json *list = json_at(o, "policy.checked");

    CHECK_INT(json_count(list), 2);
    for (size_t i = 0; i < 2; i++) {
        CHECK(json_bool_at(json_item(list, i), "matches", false));
    }
}

/* A key of P-256, and a token {"iss": "i", "sub": "s", "exp": 2000000000} that its other half signed. */
#define KEY                                                                                        \
    "{\"keys\": [{\"kty\": \"EC\", \"crv\": \"P-256\", \"x\": \"H4D77D3T_VSJ1oHCKjKD7YdbRFoDS"     \
    "Mqdt5r8s7mTMzo\", \"y\": \"ZWku_32eEcxJX2EUhrRJI6gvKhjhXrEOfL2Zox-j8Qs\"}]}"
#define TOKEN                                                                                      \
    "eyJhbGciOiJFUzI1NiIsInR5cCI6IkpXVCJ9.eyJpc3MiOiJpIiwic3ViIjoicyIsImV4cCI6MjAwMDAwMDAwMH0"     \
    ".6xSqbmI-qkuVIqN_wjFOKXnOEfQwrdDpCryZQeaFeujEdSiy-MYRpp3KFSddXJwMDnhs3pecaFNatYDRFKi4RQ"

static const struct l7 *ask_for_tokens(void)
{
    static const struct l7_jwt_location own[] = {{"x-jwt", ""}};
    struct l7_jwt_rule rules[] = {
        {.issuer = "i", .jwks = KEY, .forward_original_token = true},
        {.issuer = "j", .jwks = KEY, .from_headers = own, .from_header_count = 1}};
    struct l7_policy p = {.kind = L7_REQUEST_AUTHENTICATION,
                          .resource = "w/w/ns/svc/RequestAuthentication/ns/jwt",
                          .version = "1",
                          .ns = "ns",
                          .name = "jwt",
                          .service_ns = "ns",
                          .service_hostname = "svc",
                          .jwt_rules = rules,
                          .jwt_rule_count = 2};
    struct l7_condition when = {.key = "request.auth.claims[sub]", .values = TEXTS("s")};
    struct l7_rule allow = {.when = &when, .when_count = 1};
    static const struct l7_bound_port ports[] = {{80, L7_HTTP}, {82, L7_TCP}};
    AUTO(l7) const struct l7 *empty = l7_new(NULL, &jwks_maker);
    struct l7_delta *d = l7_delta_new(empty);
    const struct l7_policy *made;

    put_binding(d, "svc", ports, 2);
    put_policy(d, "sub-s", L7_ALLOW, &allow);
    if (l7_policy_new(&made, &p, NULL) < 0) {
        exit(1);
    }
    (void)l7_put_policy(d, made); /* new, so it changes something */
    return l7_next(d);
}

TEST(a_token_is_verified_as_the_waypoint_would)
{
    static const struct {
        const char *query;
        int64_t now_s;
        const char *outcome;
        int status;
        const char *text; /* part of it */
    } rows[] = {
        {"&header=Authorization:Bearer+" TOKEN, 1999999999, "valid", 0, ""},
        {"&path=/%3Faccess_token=" TOKEN, 1999999999, "valid", 0, ""},
        {"&header=authorization:Bearer+" TOKEN, 2000000061, "refused", 401,
         "401: Jwt is expired: exp is 2000000000 (2033-05-18T03:33:20Z), now is 2000000061"},
        {"&header=authorization:Bearer+" TOKEN "x", 1, "refused", 401,
         "says RequestAuthentication ns/jwt"},
        {"&header=x-jwt:" TOKEN, 1, "refused", 401, "iss is \"i\", the rule takes j"},
        {"", 1, "none", 403, "403: ALLOW policies exist, none matches"},
        {"&method=TRACE", 1, "none", 405, "405: TRACE"},
    };
    AUTO(l7) const struct l7 *w = ask_for_tokens();

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        AUTO(strbuf) struct strbuf query = {0};
        strbuf_printf(&query, "to=ns/svc&port=80%s", rows[i].query);
        AUTO(json)
        struct json *o = l7_why_answer(w, slice_of(strbuf_text(&query)), rows[i].now_s, NULL);
        CHECK_STR(json_str_at(o, "token.outcome", ""), rows[i].outcome);
        CHECK_INT(json_int_at(o, "status", -1), rows[i].status);
        CHECK(strstr(json_str_at(o, "text", ""), rows[i].text));
        CHECK_INT(json_count(json_get(o, "notes")), strcmp(rows[i].outcome, "none") == 0 ? 2 : 0);
    }
    AUTO(json) struct json *tcp = l7_why_answer(w, slice_of("to=ns/svc&port=82"), 0, NULL);
    AUTO(json) struct json *none = l7_why_answer(w, slice_of("to=ns/svc&port=80"), 0, NULL);
    const struct json *notes = json_get(none, "notes");
    CHECK_STR(json_str_at(tcp, "token.outcome", ""), "unasked");
    CHECK_STR(json_str(json_item(notes, 0), ""),
              "no token: RequestAuthentication ns/jwt looks for one of i in header authorization "
              "(Bearer ...), parameter access_token");
    CHECK_STR(json_str(json_item(notes, 1), ""),
              "no token: RequestAuthentication ns/jwt looks for one of j in header x-jwt");
}

TEST(questions_without_sense_say_what_is_missing)
{
    static const struct {
        const char *query;
        unsigned status;
        const char *said;
    } rows[] = {
        {"", 400, "ask with"},
        {"to=ns/svc", 400, "port:"},
        {"to=ns/svc&port=0", 400, "port:"},
        {"to=ns/other&port=80", 404, "does not serve ns/other"},
        {"to=ns/v1&port=80", 404, "does not serve ns/v1"},
        {"to=ns/svc&port=9", 404, "has no port 9"},
        {"to=ns/svc&port=80&path=nothing", 400, ""},
        {"to=ns/svc&port=80&header=x", 400, "NAME:VALUE"},
        {"to=ns/svc&port=80&source_ip=here", 400, "source_ip"},
        {"to=ns/svc&port=80&identity=me", 400, "identity"},
        {"to=ns/svc&port=80&path=%zz", 400, "path: broken escape"},
        {"to=ns/svc&port=80&path=/../x", 400, ""},
    };
    AUTO(l7) const struct l7 *w = build();

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        AUTO(strbuf) struct strbuf b = {0};
        unsigned status = 200;
        l7_why_render(w, slice_of(rows[i].query), &status, &b);
        CHECK_INT(status, rows[i].status);
        CHECK(strstr(strbuf_text(&b), rows[i].said));
    }
}

TEST(the_dump_has_rules_in_order_of_precedence)
{
    AUTO(l7) const struct l7 *w = build();
    AUTO(json) struct json *all = json_new_object();

    l7_json(all, w);
    const struct json *bare = json_item(json_get(all, "bound"), 0);
    const struct json *svc = json_item(json_get(all, "bound"), 1);
    const struct json *ports = json_get(svc, "ports");
    const struct json *rules = json_get(json_item(ports, 0), "rules");
    CHECK_STR(json_str_at(bare, "service", ""), "ns/bare");
    CHECK_STR(json_str_at(svc, "service", ""), "ns/svc");
    CHECK(json_bool_at(svc, "served", false));
    CHECK_INT(json_count(ports), 3);
    CHECK_STR(json_str_at(json_item(ports, 2), "protocol", ""), "TCP");
    CHECK_INT(json_count(rules), 3);
    CHECK_STR(json_str_at(json_item(rules, 0), "match.text", ""), "/tw%C3%B6");
    CHECK_STR(json_str_at(json_item(rules, 1), "match.text", ""),
              "GET /v2/a/... x-user=jane ?debug=1");
    CHECK_STR(json_str_at(json_item(rules, 2), "match.text", ""), "/v1/...");
    CHECK_STR(json_str_at(json_item(rules, 2), "route", ""), "r");
    CHECK_INT(json_int_at(json_item(rules, 0), "index", -1), 1);
    CHECK_INT(json_count(json_get(svc, "authorization")), 2);
    CHECK_STR(json_str_at(json_item(json_get(svc, "authorization"), 0), "action", ""), "DENY");
}
