/* SPDX-License-Identifier: Apache-2.0 */
/* A waypoint's resources off the wire: every field arrives, and what does not decode is named. */
#include <string.h>

#include "base/mem.h"
#include "t.h"
#include "waypoint.pb-c.h"
#include "xds/waypoint.h"

/* protobuf-c's structs want writable texts. */
static char *w(const char *s)
{
    return (char *)(uintptr_t)s;
}

static struct slice pack(const ProtobufCMessage *m, struct strbuf *out)
{
    size_t len = protobuf_c_message_get_packed_size(m);
    AUTO(mem) void *bytes = mem_alloc(len + 1);

    (void)protobuf_c_message_pack(m, bytes); /* len */
    strbuf_clear(out);
    strbuf_add(out, bytes, len);
    return (struct slice){out->len > 0 ? out->p : "", len};
}

TEST(a_binding_arrives)
{
    AUTO(strbuf) struct strbuf wire = {0};
    AUTO(l7_binding) const struct l7_binding *b = NULL;
    Ambit__Waypoint__V1__BoundPort port = AMBIT__WAYPOINT__V1__BOUND_PORT__INIT;
    Ambit__Waypoint__V1__BoundPort *ports[] = {&port};
    Ambit__Waypoint__V1__Binding m = AMBIT__WAYPOINT__V1__BINDING__INIT;
    struct diag why = {.code = 0};

    port.port = 80;
    port.protocol = AMBIT__WAYPOINT__V1__PROTOCOL__GRPC;
    m.namespace_ = w("ns");
    m.hostname = w("svc.x");
    m.n_ports = 1;
    m.ports = ports;
    CHECK_INT(xds_l7_binding_decode(&b, pack(&m.base, &wire), "w/w/ns/svc.x", "v1", &why), 0);
    CHECK_STR(b->key, "ns/svc.x");
    CHECK_STR(b->resource, "w/w/ns/svc.x");
    CHECK_STR(b->version, "v1");
    CHECK_INT(b->ports[0].port, 80);
    CHECK_INT(b->ports[0].protocol, L7_GRPC);
    port.port = 70000;
    AUTO(l7_binding) const struct l7_binding *no = NULL;
    CHECK(xds_l7_binding_decode(&no, pack(&m.base, &wire), "n", "v", &why) < 0);
    CHECK_STR(why.text, "ports[0].port: 70000 is no port");
    port.port = 80;
    port.protocol = (Ambit__Waypoint__V1__Protocol)77;
    CHECK(xds_l7_binding_decode(&no, pack(&m.base, &wire), "n", "v", &why) < 0);
    CHECK(strstr(why.text, "ports[0].protocol"));
    CHECK(xds_l7_binding_decode(&no, slice_of("\xff"), "n", "v", &why) < 0);
}

struct route_rig {
    Ambit__Waypoint__V1__PathMatch path;
    Ambit__Waypoint__V1__ValueMatch header, param;
    Ambit__Waypoint__V1__Match match, *matches[1];
    Ambit__Waypoint__V1__HeaderValue set, *sets[1];
    Ambit__Waypoint__V1__HeaderChange change;
    Ambit__Waypoint__V1__PathChange path_change;
    Ambit__Waypoint__V1__Rewrite rewrite;
    Ambit__Waypoint__V1__Redirect redirect;
    Ambit__Waypoint__V1__Mirror mirror;
    Ambit__Waypoint__V1__Cors cors;
    Ambit__Waypoint__V1__Filter filter[5], *filters[5];
    Ambit__Waypoint__V1__Backend backend, *backends[1], shadow;
    Ambit__Waypoint__V1__Retry retry;
    Ambit__Waypoint__V1__Route m;
    Ambit__Waypoint__V1__ValueMatch *headers[1], *params[1];
    char *removes[1], *origins[1];
    uint32_t codes[2];
};

static void rig_filters(struct route_rig *g)
{
    for (size_t i = 0; i < ARRAY_LEN(g->filter); i++) {
        ambit__waypoint__v1__filter__init(&g->filter[i]);
        g->filters[i] = &g->filter[i];
    }
    g->filter[0].what_case = AMBIT__WAYPOINT__V1__FILTER__WHAT_REQUEST_HEADERS;
    g->filter[0].request_headers = &g->change;
    g->filter[1].what_case = AMBIT__WAYPOINT__V1__FILTER__WHAT_REWRITE;
    g->filter[1].rewrite = &g->rewrite;
    g->filter[2].what_case = AMBIT__WAYPOINT__V1__FILTER__WHAT_MIRROR;
    g->filter[2].mirror = &g->mirror;
    g->filter[3].what_case = AMBIT__WAYPOINT__V1__FILTER__WHAT_CORS;
    g->filter[3].cors = &g->cors;
    g->filter[4].what_case = AMBIT__WAYPOINT__V1__FILTER__WHAT_REDIRECT;
    g->filter[4].redirect = &g->redirect;
    ambit__waypoint__v1__header_value__init(&g->set);
    g->set.name = w("X-A");
    g->set.value = w("b");
    g->sets[0] = &g->set;
    g->removes[0] = w("x-gone");
    ambit__waypoint__v1__header_change__init(&g->change);
    g->change.n_set = 1;
    g->change.set = g->sets;
    g->change.n_remove = 1;
    g->change.remove = g->removes;
    ambit__waypoint__v1__path_change__init(&g->path_change);
    g->path_change.kind = AMBIT__WAYPOINT__V1__PATH_CHANGE__KIND__PREFIX;
    g->path_change.value = w("/new");
    ambit__waypoint__v1__rewrite__init(&g->rewrite);
    g->rewrite.hostname = w("h");
    g->rewrite.path = &g->path_change;
    ambit__waypoint__v1__backend__init(&g->shadow);
    g->shadow.namespace_ = w("ns");
    g->shadow.hostname = w("shadow");
    g->shadow.port = 81;
    ambit__waypoint__v1__mirror__init(&g->mirror);
    g->mirror.backend = &g->shadow;
    g->mirror.numerator = 1;
    g->mirror.denominator = 4;
    ambit__waypoint__v1__cors__init(&g->cors);
    g->origins[0] = w("*");
    g->cors.n_allow_origins = 1;
    g->cors.allow_origins = g->origins;
    ambit__waypoint__v1__redirect__init(&g->redirect);
    g->redirect.scheme = w("https");
    g->redirect.status = 301;
}

static void rig_matches(struct route_rig *g)
{
    ambit__waypoint__v1__path_match__init(&g->path);
    g->path.value = w("/old");
    ambit__waypoint__v1__value_match__init(&g->header);
    g->header.name = w("X-H");
    g->header.kind = AMBIT__WAYPOINT__V1__VALUE_MATCH__KIND__REGEX;
    g->header.value = w("a+");
    g->headers[0] = &g->header;
    ambit__waypoint__v1__value_match__init(&g->param);
    g->param.name = w("q");
    g->param.value = w("1");
    g->params[0] = &g->param;
    ambit__waypoint__v1__match__init(&g->match);
    g->match.path = &g->path;
    g->match.method = w("GET");
    g->match.n_headers = 1;
    g->match.headers = g->headers;
    g->match.n_query = 1;
    g->match.query = g->params;
    g->matches[0] = &g->match;
}

static void rig_start(struct route_rig *g)
{
    rig_filters(g);
    rig_matches(g);
    ambit__waypoint__v1__backend__init(&g->backend);
    g->backend.namespace_ = w("ns");
    g->backend.hostname = w("v1");
    g->backend.port = 8080;
    g->backend.weight = 9;
    g->backend.n_filters = 1; /* the header change */
    g->backend.filters = g->filters;
    g->backends[0] = &g->backend;
    g->codes[0] = 500;
    g->codes[1] = 503;
    ambit__waypoint__v1__retry__init(&g->retry);
    g->retry.attempts = 2;
    g->retry.n_codes = 2;
    g->retry.codes = g->codes;
    ambit__waypoint__v1__route__init(&g->m);
    g->m.namespace_ = w("ns");
    g->m.hostname = w("svc");
    g->m.port = 80;
    g->m.kind = AMBIT__WAYPOINT__V1__ROUTE__KIND__GRPC_ROUTE;
    g->m.created_s = 1234;
    g->m.route_namespace = w("rns");
    g->m.route_name = w("rname");
    g->m.rule = 3;
    g->m.n_matches = 1;
    g->m.matches = g->matches;
    g->m.n_filters = 5;
    g->m.filters = g->filters;
    g->m.n_backends = 1;
    g->m.backends = g->backends;
    g->m.request_timeout_ms = 1000;
    g->m.backend_timeout_ms = 500;
    g->m.retry = &g->retry;
}

TEST(a_route_arrives)
{
    AUTO(strbuf) struct strbuf wire = {0};
    AUTO(l7_route) const struct l7_route *r = NULL;
    struct route_rig g;
    struct diag why = {.code = 0};

    rig_start(&g);
    int got = xds_l7_route_decode(&r, pack(&g.m.base, &wire), "name", "v", &why);
    CHECK_STR(got < 0 ? why.text : "", "");
    CHECK_STR(r->service, "ns/svc");
    CHECK_INT(r->port, 80);
    CHECK_INT(r->kind, L7_GRPC_ROUTE);
    CHECK_INT(r->created_s, 1234);
    CHECK_STR(r->label, "rns.rname.3");
    CHECK_STR(r->matches[0].path.value, "/old");
    CHECK_STR(r->matches[0].method, "GET");
    CHECK_STR(r->matches[0].headers[0].name, "x-h");
    CHECK_INT(l7_regex_match(r->matches[0].headers[0].regex, slice_of("aa")), 1);
    CHECK_STR(r->matches[0].query[0].value, "1");
    CHECK_INT(r->filter_count, 5);
    CHECK_STR(r->filters[0].headers.set[0].name, "x-a");
    CHECK_STR(r->filters[0].headers.remove[0], "x-gone");
    CHECK_STR(r->rewrite->hostname, "h");
    CHECK_INT(r->rewrite->path.kind, L7_PATH_PREFIX_SWAPPED);
    CHECK_STR(r->filters[2].mirror.backend.key, "ns/shadow");
    CHECK_INT(r->filters[2].mirror.denominator, 4);
    CHECK_STR(r->cors->allow_origins[0], "*");
    CHECK_INT(r->redirect->status, 301);
    CHECK_STR(r->backends[0].key, "ns/v1");
    CHECK_INT(r->backends[0].weight, 9);
    CHECK_INT(r->backends[0].filter_count, 1);
    CHECK_INT(r->request_timeout_ms, 1000);
    CHECK_INT(r->backend_timeout_ms, 500);
    CHECK(r->retry.set && r->retry.attempts == 2 && r->retry.code_count == 2);
}

static struct slice pack_policy(Ambit__Waypoint__V1__Authorization *a, struct strbuf *out)
{
    Ambit__Waypoint__V1__Policy m = AMBIT__WAYPOINT__V1__POLICY__INIT;

    m.namespace_ = w("pns");
    m.name = w("p");
    m.service_namespace = w("ns");
    m.service_hostname = w("svc");
    m.what_case = AMBIT__WAYPOINT__V1__POLICY__WHAT_AUTHORIZATION;
    m.authorization = a;
    return pack(&m.base, out);
}

TEST(configured_paths_are_spelled_as_requests_are)
{
    AUTO(strbuf) struct strbuf wire = {0};
    AUTO(l7_route) const struct l7_route *r = NULL;
    AUTO(l7_policy) const struct l7_policy *p = NULL;
    Ambit__Waypoint__V1__Authorization a = AMBIT__WAYPOINT__V1__AUTHORIZATION__INIT;
    Ambit__Waypoint__V1__Rule rule = AMBIT__WAYPOINT__V1__RULE__INIT, *rules[] = {&rule};
    Ambit__Waypoint__V1__Operation to = AMBIT__WAYPOINT__V1__OPERATION__INIT, *tos[] = {&to};
    char *paths[] = {w("/%61dmin*"), w("/caf\xc3\xa9"), w("*\xc3\xa9%"), w("/\xc3\xa9/{*}")};
    static const char *const want[] = {"/admin", "/caf%C3%A9", "%C3%A9%", "/%C3%A9/{*}"};
    struct route_rig g;

    rig_start(&g);
    g.path.value = w("/%6fld%2f\xc3\xa9");
    g.path_change.value = w("/n\xc3\xb6");
    CHECK_INT(xds_l7_route_decode(&r, pack(&g.m.base, &wire), "name", "", NULL), 0);
    CHECK_STR(r->matches[0].path.value, "/old%2F%C3%A9");
    CHECK_STR(r->rewrite->path.value, "/n%C3%B6");
    CHECK_INT(strlen(r->version) > 0, 1);
    a.n_rules = 1;
    a.rules = rules;
    rule.n_to = 1;
    rule.to = tos;
    to.n_paths = ARRAY_LEN(paths);
    to.paths = paths;
    CHECK_INT(xds_l7_policy_decode(&p, pack_policy(&a, &wire), "name", "v", NULL), 0);
    for (size_t i = 0; i < ARRAY_LEN(want); i++) {
        CHECK_STR(p->rules[0].to_clauses[0].terms[0].values.at[i].text, want[i]);
    }
}

TEST(a_route_that_cannot_be_names_its_field)
{
    AUTO(strbuf) struct strbuf wire = {0};
    AUTO(l7_route) const struct l7_route *r = NULL;
    struct route_rig g;
    struct diag why;

#define REFUSED(change, says)                                                                      \
    do {                                                                                           \
        rig_start(&g);                                                                             \
        change;                                                                                    \
        why = (struct diag){.code = 0};                                                            \
        CHECK(xds_l7_route_decode(&r, pack(&g.m.base, &wire), "n", "v", &why) < 0);                \
        CHECK_STR(strstr(why.text, says) ? says : why.text, says);                                 \
    } while (0)
    REFUSED(g.m.hostname = w(""), "hostname:");
    REFUSED(g.m.port = 65536, "port: 65536");
    REFUSED(g.m.kind = (Ambit__Waypoint__V1__Route__Kind)9, "kind: 9");
    REFUSED(g.path.kind = (Ambit__Waypoint__V1__PathMatch__Kind)9, "matches[0].path.kind: 9");
    REFUSED(g.path.value = w("old"), "matches[0].path.value:");
    REFUSED(g.header.value = w("(?=a)"), "matches[0].headers[0].value: regular expression");
    REFUSED(g.filter[1].what_case = AMBIT__WAYPOINT__V1__FILTER__WHAT__NOT_SET, "filters[1].what");
    REFUSED(g.redirect.status = 200, "filters[4].status");
    REFUSED(g.mirror.backend = NULL, "filters[2].mirror.backend");
    REFUSED(g.backend.port = 0, "backends[0].port");
    REFUSED(g.codes[1] = 999, "retry.codes[1]");
    REFUSED(g.retry.attempts = 1000, "retry.attempts");
    REFUSED(g.set.value = w("a\nb"), "filters[0].set");
#undef REFUSED
}

TEST(a_policy_arrives)
{
    AUTO(strbuf) struct strbuf wire = {0};
    AUTO(l7_policy) const struct l7_policy *p = NULL;
    Ambit__Waypoint__V1__Authorization a = AMBIT__WAYPOINT__V1__AUTHORIZATION__INIT;
    Ambit__Waypoint__V1__Rule rule = AMBIT__WAYPOINT__V1__RULE__INIT, *rules[] = {&rule};
    Ambit__Waypoint__V1__Operation to = AMBIT__WAYPOINT__V1__OPERATION__INIT, *tos[] = {&to};
    char *paths[] = {w("/a/{*}"), w("/b*")}, *ports[] = {w("80"), w("http")};

    a.action = AMBIT__WAYPOINT__V1__AUTHORIZATION__ACTION__DENY;
    a.dry_run = true;
    a.n_rules = 1;
    a.rules = rules;
    rule.n_to = 1;
    rule.to = tos;
    to.n_paths = 2;
    to.paths = paths;
    to.n_not_ports = 2;
    to.not_ports = ports;
    CHECK_INT(xds_l7_policy_decode(&p, pack_policy(&a, &wire), "name", "v", NULL), 0);
    CHECK_INT(p->action, L7_DENY);
    CHECK(p->dry_run && !p->broken);
    CHECK_STR(p->service, "ns/svc");
    CHECK_INT(p->rules[0].to_count, 1);
    const struct l7_clause *c = &p->rules[0].to_clauses[0];
    CHECK_INT(c->term_count, 2);
    CHECK_INT(c->terms[0].not_ports.count, 1);
    CHECK(c->terms[0].not_ports.flawed);
    CHECK_INT(c->terms[1].values.at[0].kind, L7_PATTERN_TEMPLATE);
    CHECK_INT(c->terms[1].values.at[1].kind, L7_PATTERN_PREFIX);
    CHECK_STR(
        p->flaw,
        "rules[0].to[0].operation.notPorts[1]: 'http' is no port: write a number from 1 to 65535");
}

TEST(a_policy_that_cannot_be_read_denies_its_target)
{
    AUTO(strbuf) struct strbuf wire = {0};
    AUTO(l7_policy) const struct l7_policy *kept = NULL;
    AUTO(l7_policy) const struct l7_policy *named = NULL;
    AUTO(l7_policy) const struct l7_policy *wide = NULL;
    Ambit__Waypoint__V1__Authorization a = AMBIT__WAYPOINT__V1__AUTHORIZATION__INIT;
    struct diag why = {.code = 0};

    a.action = (Ambit__Waypoint__V1__Authorization__Action)9;
    CHECK(xds_l7_policy_decode(&kept, pack_policy(&a, &wire), "name", "v", &why) < 0);
    CHECK_STR(why.text, "authorization.action: 9 is unknown");
    CHECK(kept && kept->broken);
    CHECK_STR(kept->service, "ns/svc");
    CHECK_STR(kept->resource, "name");
    CHECK(xds_l7_policy_decode(&named, slice_of("\xff"),
                               "wns/w/sns/host.x/AuthorizationPolicy/pns/pname", "v", &why) < 0);
    CHECK(named->broken);
    CHECK_STR(named->service, "sns/host.x");
    CHECK_STR(named->name, "pname");
    CHECK(xds_l7_policy_decode(&wide, slice_of("\xff"), "what", "v", &why) < 0);
    CHECK_STR(wide->service, "");
}

TEST(a_policy_with_a_field_of_the_future_is_refused)
{
    AUTO(strbuf) struct strbuf wire = {0};
    AUTO(l7_policy) const struct l7_policy *p = NULL;
    Ambit__Waypoint__V1__Authorization a = AMBIT__WAYPOINT__V1__AUTHORIZATION__INIT;
    Ambit__Waypoint__V1__Rule rule = AMBIT__WAYPOINT__V1__RULE__INIT, *rules[] = {&rule};
    Ambit__Waypoint__V1__Source from = AMBIT__WAYPOINT__V1__SOURCE__INIT, *froms[] = {&from};
    uint8_t text[] = {'\1', 'x'};
    ProtobufCMessageUnknownField future = {
        .tag = 99, .wire_type = PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED, .len = 2, .data = text};
    struct diag why = {.code = 0};

    a.n_rules = 1;
    a.rules = rules;
    rule.n_from = 1;
    rule.from = froms;
    from.base.n_unknown_fields = 1;
    from.base.unknown_fields = &future;
    CHECK(xds_l7_policy_decode(&p, pack_policy(&a, &wire), "name", "v", &why) < 0);
    CHECK_STR(why.text, "authorization.rules[0].from[0]: field 99 is unknown");
    CHECK(p->broken);
}

TEST(request_authentication_arrives)
{
    AUTO(strbuf) struct strbuf wire = {0};
    AUTO(l7_policy) const struct l7_policy *p = NULL;
    Ambit__Waypoint__V1__JwtLocation from = AMBIT__WAYPOINT__V1__JWT_LOCATION__INIT,
                                     *froms[] = {&from};
    Ambit__Waypoint__V1__JwtRule rule = AMBIT__WAYPOINT__V1__JWT_RULE__INIT, *rules[] = {&rule};
    Ambit__Waypoint__V1__RequestAuthentication a =
        AMBIT__WAYPOINT__V1__REQUEST_AUTHENTICATION__INIT;
    Ambit__Waypoint__V1__Policy m = AMBIT__WAYPOINT__V1__POLICY__INIT;
    char *audiences[] = {w("web")};

    from.name = w("X-Jwt");
    from.prefix = w("T ");
    rule.issuer = w("i");
    rule.jwks = w("{}");
    rule.n_audiences = 1;
    rule.audiences = audiences;
    rule.n_from_headers = 1;
    rule.from_headers = froms;
    rule.forward_original_token = true;
    a.n_rules = 1;
    a.rules = rules;
    m.namespace_ = w("pns");
    m.name = w("p");
    m.what_case = AMBIT__WAYPOINT__V1__POLICY__WHAT_AUTHENTICATION;
    m.authentication = &a;
    CHECK_INT(xds_l7_policy_decode(&p, pack(&m.base, &wire), "name", "v", NULL), 0);
    CHECK_INT(p->kind, L7_REQUEST_AUTHENTICATION);
    CHECK_STR(p->service, "");
    CHECK_STR(p->jwt_rules[0].issuer, "i");
    CHECK_STR(p->jwt_rules[0].audiences.at[0], "web");
    CHECK_STR(p->jwt_rules[0].from_headers[0].name, "x-jwt");
    CHECK_STR(p->jwt_rules[0].from_headers[0].prefix, "T ");
    CHECK(p->jwt_rules[0].forward_original_token);
}

TEST(traffic_arrives)
{
    AUTO(strbuf) struct strbuf wire = {0};
    AUTO(l7_traffic) const struct l7_traffic *x = NULL;
    AUTO(l7_traffic) const struct l7_traffic *no = NULL;
    Ambit__Waypoint__V1__HashKey hash = AMBIT__WAYPOINT__V1__HASH_KEY__INIT;
    Ambit__Waypoint__V1__Outlier outlier = AMBIT__WAYPOINT__V1__OUTLIER__INIT;
    Ambit__Waypoint__V1__Limits limits = AMBIT__WAYPOINT__V1__LIMITS__INIT;
    Ambit__Waypoint__V1__Traffic m = AMBIT__WAYPOINT__V1__TRAFFIC__INIT;
    struct diag why = {.code = 0};

    hash.cookie = w("user");
    hash.make_cookie = true;
    outlier.consecutive_5xx = 5;
    limits.pending_requests = 7;
    m.namespace_ = w("ns");
    m.hostname = w("svc");
    m.balance = AMBIT__WAYPOINT__V1__TRAFFIC__BALANCE__CONSISTENT_HASH;
    m.hash = &hash;
    m.outlier = &outlier;
    m.limits = &limits;
    m.locality_failover = true;
    CHECK_INT(xds_l7_traffic_decode(&x, pack(&m.base, &wire), "name", "v", NULL), 0);
    CHECK_INT(x->balance, L7_CONSISTENT_HASH);
    CHECK_STR(x->hash.cookie, "user");
    CHECK(x->hash.make_cookie && x->locality_failover);
    CHECK_INT(x->outlier.consecutive_5xx, 5);
    CHECK_INT(x->limits.pending_requests, 7);
    m.balance = (Ambit__Waypoint__V1__Traffic__Balance)9;
    CHECK(xds_l7_traffic_decode(&no, pack(&m.base, &wire), "name", "v", &why) < 0);
    CHECK_STR(why.text, "balance: 9 is unknown");
}
