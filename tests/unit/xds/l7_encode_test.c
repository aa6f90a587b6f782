/* SPDX-License-Identifier: Apache-2.0 */
/* A waypoint's resources to the wire and back: what is decoded is what was encoded, field by field, and
 * encodes to the same bytes again. */
#include <string.h>

#include "base/mem.h"
#include "t.h"
#include "xds/waypoint.h"

#define SLICE(b)                                                                                   \
    (struct slice)                                                                                 \
    {                                                                                              \
        (b).len > 0 ? (b).p : "", (b).len                                                          \
    }

static bool same_bytes(const struct strbuf *a, const struct strbuf *b)
{
    return a->len == b->len && memcmp(a->p, b->p, a->len) == 0;
}

TEST(a_binding_comes_back)
{
    static const struct l7_bound_port ports[] = {{80, L7_HTTP}, {81, L7_UNKNOWN}, {82, L7_TLS}};
    const struct l7_binding from = {.ns = "n", .hostname = "h.x", .ports = ports, .port_count = 3};
    AUTO(strbuf) struct strbuf wire = {0};
    AUTO(strbuf) struct strbuf again = {0};
    AUTO(l7_binding) const struct l7_binding *b = NULL;
    struct diag why = {.code = 0};

    xds_l7_binding_encode(&wire, &from);
    CHECK_INT(xds_l7_binding_decode(&b, SLICE(wire), "g/w/n/h.x", "1", &why), 0);
    CHECK_STR(b->key, "n/h.x");
    CHECK_INT(b->ports[2].protocol, L7_TLS);
    xds_l7_binding_encode(&again, b);
    CHECK(same_bytes(&wire, &again));
}

static const struct l7_header headers[] = {{"a", "1"}, {"b", ""}};
static const char *const removed[] = {"x", "y"};
static const struct l7_filter on_backend[] = {
    {.kind = L7_FILTER_RESPONSE_HEADERS, .headers = {.add = headers, .add_count = 2}}};
static const char *const origins[] = {"https://a.example", "*"};
static const char *const methods[] = {"GET"};
static const struct l7_filter filters[] = {
    {.kind = L7_FILTER_REQUEST_HEADERS,
     .headers = {.set = headers, .set_count = 2, .remove = removed, .remove_count = 2}},
    {.kind = L7_FILTER_REWRITE,
     .rewrite = {.hostname = "h.example", .path = {L7_PATH_PREFIX_SWAPPED, "/new"}}},
    {.kind = L7_FILTER_MIRROR,
     .mirror = {.backend = {.ns = "n", .hostname = "m", .port = 1, .weight = 1},
                .numerator = 3,
                .denominator = 7}},
    {.kind = L7_FILTER_CORS,
     .cors = {.allow_origins = origins,
              .allow_origin_count = 2,
              .allow_methods = methods,
              .allow_method_count = 1,
              .allow_headers = removed,
              .allow_header_count = 2,
              .expose_headers = removed,
              .expose_header_count = 1,
              .allow_credentials = true,
              .max_age_s = 9}}};
static const struct l7_value_match values[] = {
    {.name = "h", .kind = L7_VALUE_EXACT, .value = "v"},
    {.name = "r", .kind = L7_VALUE_REGEX, .value = "a|b"},
    {.name = "p", .kind = L7_VALUE_PRESENT, .value = ""}};
static const struct l7_match matches[] = {{.path = {.kind = L7_PATH_PREFIX, .value = "/p"},
                                           .method = "GET",
                                           .headers = values,
                                           .header_count = 3,
                                           .query = values,
                                           .query_count = 2}};
static const struct l7_backend backends[] = {{.ns = "n",
                                              .hostname = "b",
                                              .port = 80,
                                              .protocol = L7_HTTP2,
                                              .weight = 9,
                                              .filters = on_backend,
                                              .filter_count = 1},
                                             {.weight = 1, .invalid = "there is none"}};
static const uint16_t codes[] = {502, 503};

TEST(a_route_comes_back)
{
    const struct l7_route from = {
        .ns = "n",
        .hostname = "h",
        .port = 80,
        .kind = L7_HTTP_ROUTE,
        .created_s = 1700000000,
        .route_ns = "rn",
        .route_name = "r",
        .rule = 3,
        .rule_name = "third",
        .matches = matches,
        .match_count = 1,
        .filters = filters,
        .filter_count = 4,
        .backends = backends,
        .backend_count = 2,
        .request_timeout_ms = 1500,
        .backend_timeout_ms = 500,
        .retry = {.set = true, .attempts = 2, .codes = codes, .code_count = 2, .backoff_ms = 40}};
    AUTO(strbuf) struct strbuf wire = {0};
    AUTO(strbuf) struct strbuf again = {0};
    AUTO(l7_route) const struct l7_route *r = NULL;
    struct diag why = {.code = 0};

    xds_l7_route_encode(&wire, &from);
    CHECK_INT(xds_l7_route_decode(&r, SLICE(wire), "g/w/n/h/80/HTTPRoute/rn/r/3", "1", &why), 0);
    CHECK_STR(why.text, "");
    CHECK_INT(r->created_s, 1700000000);
    CHECK_STR(r->matches[0].headers[1].value, "a|b");
    CHECK_STR(r->filters[3].cors.allow_origins[1], "*");
    CHECK_INT(r->filters[2].mirror.denominator, 7);
    CHECK_STR(r->backends[0].filters[0].headers.add[0].value, "1");
    CHECK_INT(r->backends[0].protocol, L7_HTTP2);
    CHECK_STR(r->backends[1].invalid, "there is none");
    CHECK_INT(r->retry.codes[1], 503);
    xds_l7_route_encode(&again, r);
    CHECK(same_bytes(&wire, &again));
}

TEST(a_redirect_and_a_grpc_rule_come_back)
{
    static const struct l7_filter redirect = {.kind = L7_FILTER_REDIRECT,
                                              .redirect = {.scheme = "https",
                                                           .hostname = "o.example",
                                                           .port = 8443,
                                                           .status = 301,
                                                           .path = {L7_PATH_FULL, "/x"}}};
    static const struct l7_match all[] = {{.path = {.kind = L7_PATH_EXACT, .value = "/a.B/C"}},
                                          {.path = {.kind = L7_PATH_REGEX, .value = "/[^/]+/C"}}};
    const struct l7_route from = {.ns = "n",
                                  .hostname = "h",
                                  .kind = L7_GRPC_ROUTE,
                                  .route_ns = "n",
                                  .route_name = "r",
                                  .matches = all,
                                  .match_count = 2,
                                  .filters = &redirect,
                                  .filter_count = 1,
                                  .invalid = "why not",
                                  .consumer = "elsewhere"};
    AUTO(strbuf) struct strbuf wire = {0};
    AUTO(strbuf) struct strbuf again = {0};
    AUTO(l7_route) const struct l7_route *r = NULL;
    struct diag why = {.code = 0};

    xds_l7_route_encode(&wire, &from);
    CHECK_INT(xds_l7_route_decode(&r, SLICE(wire), "name", "1", &why), 0);
    CHECK_STR(why.text, "");
    CHECK_INT(r->kind, L7_GRPC_ROUTE);
    CHECK_INT(r->filters[0].redirect.port, 8443);
    CHECK_STR(r->invalid, "why not");
    CHECK_STR(r->consumer, "elsewhere");
    xds_l7_route_encode(&again, r);
    CHECK(same_bytes(&wire, &again));
}

#define TEXTS(...)                                                                                 \
    {                                                                                              \
        (const char *const[]){__VA_ARGS__},                                                        \
            sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *)                            \
    }

TEST(a_policy_comes_back)
{
    const struct l7_source source = {TEXTS("p1", "p*"), TEXTS("np"),      TEXTS("rp"),
                                     TEXTS("nrp"),      TEXTS("ns"),      TEXTS("nn"),
                                     TEXTS("a/b"),      TEXTS("c/d"),     TEXTS("10.0.0.0/8"),
                                     TEXTS("10.0.0.1"), TEXTS("1.2.3.4"), TEXTS("4.3.2.1")};
    const struct l7_operation operation = {TEXTS("h"),      TEXTS("nh"),  TEXTS("80"),
                                           TEXTS("81"),     TEXTS("GET"), TEXTS("PUT"),
                                           TEXTS("/a/{*}"), TEXTS("/b")};
    const struct l7_condition when = {"request.headers[x]", TEXTS("1"), TEXTS("2")};
    const struct l7_rule rules[] = {{.from = &source,
                                     .to = &operation,
                                     .when = &when,
                                     .from_count = 1,
                                     .to_count = 1,
                                     .when_count = 1},
                                    {.from_count = 0}};
    const struct l7_policy from = {.kind = L7_AUTHORIZATION,
                                   .ns = "pn",
                                   .name = "p",
                                   .service_ns = "n",
                                   .service_hostname = "h",
                                   .action = L7_DENY,
                                   .dry_run = true,
                                   .rules = rules,
                                   .rule_count = 2};
    AUTO(strbuf) struct strbuf wire = {0};
    AUTO(l7_policy) const struct l7_policy *p = NULL;
    struct diag why = {.code = 0};

    xds_l7_policy_encode(&wire, &from);
    CHECK_INT(xds_l7_policy_decode(&p, SLICE(wire), "g/w/n/h/AuthorizationPolicy/pn/p", "1", &why),
              0);
    CHECK_STR(p->service, "n/h");
    CHECK_INT(p->rule_count, 2);
    const struct l7_clause *who = &p->rules[0].from_clauses[0];
    const struct l7_clause *what = &p->rules[0].to_clauses[0];
    CHECK_STR(p->flaw, "");
    CHECK(p->dry_run && p->action == L7_DENY);
    CHECK_INT(who->term_count, 6);
    CHECK_INT(what->term_count, 4);
    for (size_t i = 0; i < who->term_count; i++) {
        const struct l7_term *term = &who->terms[i];
        CHECK_INT(term->values.count + term->blocks.count,
                  term->attribute == L7_SOURCE_PRINCIPAL ? 2 : 1);
        CHECK_INT(term->not_values.count + term->not_blocks.count, 1);
    }
    CHECK_INT(p->rules[0].when_clause.term_count, 1);
    CHECK_STR(p->rules[0].when_clause.terms[0].name, "x");
    CHECK_INT(p->rules[1].from_count, 0);
}

TEST(an_authentication_comes_back)
{
    static const struct l7_jwt_location from_headers[] = {{"authorization", "Bearer "}, {"x", ""}};
    static const struct l7_claim_header claims[] = {{"x-sub", "sub"}};
    const struct l7_jwt_rule rule = {.issuer = "me",
                                     .audiences = TEXTS("a", "b"),
                                     .jwks = "{\"keys\":[]}",
                                     .from_headers = from_headers,
                                     .from_header_count = 2,
                                     .from_params = TEXTS("q"),
                                     .from_cookies = TEXTS("c"),
                                     .output_payload_to_header = "x-payload",
                                     .claim_headers = claims,
                                     .claim_header_count = 1,
                                     .forward_original_token = true,
                                     .space_delimited_claims = TEXTS("scope")};
    const struct l7_policy from = {.kind = L7_REQUEST_AUTHENTICATION,
                                   .ns = "pn",
                                   .name = "p",
                                   .jwt_rules = &rule,
                                   .jwt_rule_count = 1};
    AUTO(strbuf) struct strbuf wire = {0};
    AUTO(strbuf) struct strbuf again = {0};
    AUTO(l7_policy) const struct l7_policy *p = NULL;
    struct diag why = {.code = 0};

    xds_l7_policy_encode(&wire, &from);
    CHECK_INT(xds_l7_policy_decode(&p, SLICE(wire), "g/w/RequestAuthentication/pn/p", "1", &why),
              0);
    CHECK_STR(p->service, "");
    CHECK_STR(p->jwt_rules[0].from_cookies.at[0], "c");
    CHECK_STR(p->jwt_rules[0].claim_headers[0].claim, "sub");
    xds_l7_policy_encode(&again, p);
    CHECK(same_bytes(&wire, &again));
}

TEST(traffic_settings_come_back)
{
    const struct l7_traffic from = {
        .ns = "n",
        .hostname = "h",
        .port = 80,
        .balance = L7_CONSISTENT_HASH,
        .hash = {.cookie = "c", .make_cookie = true, .cookie_ttl_ms = 5000, .cookie_path = "/p"},
        .locality_failover = true,
        .outlier = {5, 3, 1000, 2000, 50, 20},
        .limits = {1, 2, 3, 4, 5, 6, 7}};
    AUTO(strbuf) struct strbuf wire = {0};
    AUTO(strbuf) struct strbuf again = {0};
    AUTO(l7_traffic) const struct l7_traffic *t7 = NULL;
    struct diag why = {.code = 0};

    xds_l7_traffic_encode(&wire, &from);
    CHECK_INT(xds_l7_traffic_decode(&t7, SLICE(wire), "g/w/n/h/80", "1", &why), 0);
    CHECK_STR(why.text, "");
    CHECK_STR(t7->hash.cookie, "c");
    CHECK_INT(t7->outlier.min_health_percent, 20);
    CHECK_INT(t7->limits.idle_timeout_ms, 7);
    xds_l7_traffic_encode(&again, t7);
    CHECK(same_bytes(&wire, &again));
}
