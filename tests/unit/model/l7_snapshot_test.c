/* SPDX-License-Identifier: Apache-2.0 */
/* Snapshots: what a delta touches is compiled anew, all else is shared. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "l7_lab.h"
#include "model/l7.h"
#include "t.h"

/* ---- short makers */

static const struct l7_binding *binding(const char *host, const char *version)
{
    struct l7_bound_port ports[] = {{8080, L7_UNKNOWN}, {80, L7_HTTP}};
    struct l7_binding b = {
        .version = version, .ns = "ns", .hostname = host, .ports = ports, .port_count = 2};
    const struct l7_binding *made = NULL;
    char name[100];

    (void)snprintf(name, sizeof(name), "w/w/ns/%s", host);
    b.resource = name;
    return l7_binding_new(&made, &b, NULL) < 0 ? NULL : made;
}

static const struct l7_route *consumer_route(const char *host, const char *name,
                                             enum l7_route_kind kind, uint16_t port,
                                             const char *consumer)
{
    struct l7_backend b = {.ns = "ns", .hostname = name, .port = 80, .weight = 1};
    struct l7_route r = {.ns = "ns",
                         .hostname = host,
                         .port = port,
                         .kind = kind,
                         .route_ns = "ns",
                         .route_name = name,
                         .backends = &b,
                         .backend_count = 1,
                         .consumer = consumer};
    const struct l7_route *made = NULL;
    char resource[100];

    (void)snprintf(resource, sizeof(resource), "w/w/ns/%s/%u/%d/ns/%s/0", host, port, kind, name);
    r.resource = resource;
    return l7_route_new(&made, &r, NULL) < 0 ? NULL : made;
}

static const struct l7_route *route(const char *host, const char *name, enum l7_route_kind kind,
                                    uint16_t port)
{
    return consumer_route(host, name, kind, port, NULL);
}

static const struct l7_policy *policy(const char *host, const char *version, bool broken,
                                      const char *jwks)
{
    struct l7_jwt_rule rule = {.issuer = "i", .jwks = jwks};
    struct l7_policy p = {.kind = jwks ? L7_REQUEST_AUTHENTICATION : L7_AUTHORIZATION,
                          .broken = broken,
                          .version = version,
                          .ns = "ns",
                          .name = "p",
                          .service_ns = host ? "ns" : "",
                          .service_hostname = host ? host : "",
                          .jwt_rules = &rule,
                          .jwt_rule_count = jwks ? 1 : 0};
    const struct l7_policy *made = NULL;
    char resource[100];

    (void)snprintf(resource, sizeof(resource), "w/w/%s/%d/ns/p", host ? host : "", p.kind);
    p.resource = resource;
    return l7_policy_new(&made, &p, NULL) < 0 ? NULL : made;
}

static const struct l7_traffic *traffic(const char *host, uint16_t port)
{
    struct l7_traffic x = {.ns = "ns", .hostname = host, .port = port, .balance = L7_ROUND_ROBIN};
    const struct l7_traffic *made = NULL;
    char resource[100];

    (void)snprintf(resource, sizeof(resource), "w/w/ns/%s/%u", host, port);
    x.resource = resource;
    return l7_traffic_new(&made, &x, NULL) < 0 ? NULL : made;
}

/* ---- a maker of key sets that counts */

static unsigned keys_made, keys_freed;

static void free_keys(struct l7_jwks *k)
{
    keys_freed++;
    mem_free(k);
}

static struct l7_jwks *make_keys(const char *jwks)
{
    struct l7_jwks *k;

    if (strcmp(jwks, "bad") == 0) {
        return NULL;
    }
    k = mem_new(struct l7_jwks);
    aref_init(&k->refs);
    k->free = free_keys;
    keys_made++;
    return k;
}

static const struct l7_jwks_maker maker = {make_keys};

/* ---- */

TEST(a_service_is_compiled_from_all_its_resources)
{
    AUTO(l7) const struct l7 *empty = l7_new(NULL, NULL);
    struct l7_delta *d = l7_delta_new(empty);

    CHECK(l7_put_binding(d, binding("a", "1")));
    CHECK(l7_put_route(d, route("a", "r1", L7_HTTP_ROUTE, 80)));
    CHECK(l7_put_route(d, route("a", "r2", L7_TCP_ROUTE, 8080)));
    CHECK(l7_put_route(d, route("a", "r3", L7_HTTP_ROUTE, 9999))); /* no such port */
    CHECK(l7_put_policy(d, policy("a", "1", false, NULL)));
    CHECK(l7_put_policy(d, policy(NULL, "1", false, NULL)));
    CHECK(l7_put_traffic(d, traffic("a", 0)));
    CHECK(l7_put_traffic(d, traffic("a", 8080)));
    CHECK_INT(l7_delta_count(d), 8);
    AUTO(l7) const struct l7 *w = l7_next(d);
    const struct l7_service *s = l7_service_find(w, "ns/a");
    CHECK(s && s->binding);
    CHECK_INT(s->port_count, 2);
    const struct l7_port *http = l7_service_port(s, 80);
    const struct l7_port *tcp = l7_service_port(s, 8080);
    CHECK(http && http->rules.table && !http->rules.tcp);
    CHECK_INT(http->protocol, L7_HTTP);
    CHECK(tcp && !tcp->rules.table && tcp->rules.tcp);
    CHECK_STR(tcp->rules.tcp->route_name, "r2");
    CHECK(!l7_service_port(s, 9999));
    CHECK_INT(http->traffic->port, 0);
    CHECK_INT(tcp->traffic->port, 8080);
    CHECK_INT(s->authorization.count, 1);
    CHECK_INT(l7_authorization(w).count, 1);
    CHECK_INT(l7_count(w, L7_TYPE_ROUTE), 3);
    CHECK_INT(l7_generation(w), 1);
    CHECK_INT(l7_policy_generation(w), 1);
    struct l7_cursor c = {0};
    CHECK(l7_each_service(w, &c) == s);
    CHECK(!l7_each_service(w, &c));
}

TEST(kinds_are_not_mixed_on_a_port)
{
    AUTO(l7) const struct l7 *empty = l7_new(NULL, NULL);
    struct l7_delta *d = l7_delta_new(empty);

    (void)l7_put_binding(d, binding("a", "1"));
    (void)l7_put_route(d, route("a", "http", L7_HTTP_ROUTE, 0));
    (void)l7_put_route(d, route("a", "grpc", L7_GRPC_ROUTE, 80));
    (void)l7_put_route(d, route("a", "tcp", L7_TCP_ROUTE, 0));
    AUTO(l7) const struct l7 *w = l7_next(d);
    const struct l7_service *s = l7_service_find(w, "ns/a");
    const struct l7_table *grpc = l7_service_port(s, 80)->rules.table;
    const struct l7_table *http = l7_service_port(s, 8080)->rules.table;
    CHECK_INT(l7_table_count(grpc), 1);
    CHECK_STR(l7_table_entry(grpc, 0)->route->route_name, "grpc");
    CHECK_STR(l7_table_entry(http, 0)->route->route_name, "http");
    CHECK(!l7_service_port(s, 8080)->rules.tcp);
}

TEST(ports_with_the_same_routes_share_a_table)
{
    AUTO(l7) const struct l7 *empty = l7_new(NULL, NULL);
    struct l7_delta *d = l7_delta_new(empty);

    (void)l7_put_binding(d, binding("a", "1"));
    (void)l7_put_route(d, route("a", "http", L7_HTTP_ROUTE, 0));
    AUTO(l7) const struct l7 *w = l7_next(d);
    const struct l7_service *s = l7_service_find(w, "ns/a");
    CHECK(s->ports[0].rules.table && s->ports[0].rules.table == s->ports[1].rules.table);
}

/* The names of the first rules of an HTTP and a TCP port that a client of this namespace follows. */
static const char *follows(const struct l7_service *s, const char *client, char out[static 100])
{
    AUTO(identity) const struct identity *id = client ? identity_new("td", client, "sa") : NULL;
    struct l7_rules http = l7_port_rules(l7_service_port(s, 80), id);
    struct l7_rules tcp = l7_port_rules(l7_service_port(s, 8080), id);

    (void)snprintf(out, 100, "%s %s",
                   http.table ? l7_table_entry(http.table, 0)->route->route_name : "-",
                   tcp.tcp ? tcp.tcp->route_name : "-");
    return out;
}

TEST(a_consumer_follows_its_own_rules_only)
{
    AUTO(l7) const struct l7 *empty = l7_new(NULL, NULL);
    struct l7_delta *d = l7_delta_new(empty);
    char text[100];

    (void)l7_put_binding(d, binding("a", "1"));
    (void)l7_put_route(d, route("a", "zz", L7_HTTP_ROUTE, 80));
    (void)l7_put_route(d, consumer_route("a", "of-grpc", L7_GRPC_ROUTE, 80, "two"));
    (void)l7_put_route(d, consumer_route("a", "aa-http", L7_HTTP_ROUTE, 0, "two"));
    (void)l7_put_route(d, consumer_route("a", "of-tcp", L7_TCP_ROUTE, 8080, "three"));
    AUTO(l7) const struct l7 *w = l7_next(d);
    const struct l7_service *s = l7_service_find(w, "ns/a");
    CHECK_STR(follows(s, NULL, text), "zz -"); /* nobody is known */
    CHECK_STR(follows(s, "ns", text), "zz -");
    CHECK_STR(follows(s, "three", text), "zz of-tcp"); /* it has none for the other port */
    CHECK_STR(follows(s, "two", text), "of-grpc -"); /* kinds are not mixed: of one's own neither */
    CHECK_INT(l7_table_count(l7_service_port(s, 80)->rules.table), 1);
    CHECK_INT(s->ports[0].consumer_count, 1);
    const struct l7_rules *grpc =
        &s->ports[0].consumers[0].rules; /* hides "aa-http", which may go */
    CHECK(s->ports[0].consumers[0].ns == l7_table_entry(grpc->table, 0)->route->consumer);
    CHECK_INT(s->ports[1].consumer_count, 2); /* "aa-http" is for both ports */
    CHECK_STR(s->ports[1].consumers[0].ns, "three");
}

TEST(a_consumers_rules_alone_leave_everybody_else_without)
{
    AUTO(l7) const struct l7 *empty = l7_new(NULL, NULL);
    struct l7_delta *d = l7_delta_new(empty);
    char text[100];

    (void)l7_put_binding(d, binding("a", "1"));
    (void)l7_put_route(d, consumer_route("a", "r", L7_HTTP_ROUTE, 0, "two"));
    AUTO(l7) const struct l7 *w = l7_next(d);
    const struct l7_service *s = l7_service_find(w, "ns/a");
    CHECK_STR(follows(s, "ns", text), "- -");
    CHECK_STR(follows(s, "two", text), "r -");
    CHECK(s->ports[0].consumers[0].rules.table == s->ports[1].consumers[0].rules.table);
}

TEST(only_what_a_delta_touches_is_made_anew)
{
    AUTO(l7) const struct l7 *empty = l7_new(NULL, NULL);
    struct l7_delta *d = l7_delta_new(empty);

    (void)l7_put_binding(d, binding("a", "1"));
    (void)l7_put_binding(d, binding("b", "1"));
    AUTO(l7) const struct l7 *first = l7_next(d);
    d = l7_delta_new(first);
    CHECK(!l7_put_binding(d, binding("b", "1"))); /* the same version */
    CHECK_INT(l7_delta_count(d), 0);
    CHECK(l7_put_binding(d, binding("b", "2")));
    AUTO(l7) const struct l7 *second = l7_next(d);
    CHECK(l7_service_find(first, "ns/a") == l7_service_find(second, "ns/a"));
    CHECK(l7_service_find(first, "ns/b") != l7_service_find(second, "ns/b"));
    CHECK_INT(l7_policy_generation(second), l7_policy_generation(first));
}

TEST(a_removed_resource_takes_its_part_away)
{
    AUTO(l7) const struct l7 *empty = l7_new(NULL, NULL);
    struct l7_delta *d = l7_delta_new(empty);

    (void)l7_put_binding(d, binding("a", "1"));
    (void)l7_put_route(d, route("a", "r", L7_HTTP_ROUTE, 80));
    AUTO(l7) const struct l7 *w = l7_next(d);
    AUTO(l7_service) const struct l7_service *pinned = l7_service_ref(l7_service_find(w, "ns/a"));
    d = l7_delta_new(w);
    CHECK(l7_remove(d, L7_TYPE_BINDING, "w/w/ns/a"));
    CHECK(!l7_remove(d, L7_TYPE_BINDING, "w/w/ns/a"));
    CHECK(!l7_remove(d, L7_TYPE_BINDING, "w/w/ns/zzz"));
    AUTO(l7) const struct l7 *unbound = l7_next(d);
    CHECK(l7_service_find(unbound, "ns/a") && !l7_service_find(unbound, "ns/a")->binding);
    CHECK_INT(l7_policy_generation(unbound), l7_policy_generation(w) + 1);
    d = l7_delta_new(unbound);
    CHECK(l7_remove(d, L7_TYPE_ROUTE, "w/w/ns/a/80/0/ns/r/0"));
    AUTO(l7) const struct l7 *gone = l7_next(d);
    CHECK(!l7_service_find(gone, "ns/a"));
    CHECK_INT(l7_count(gone, L7_TYPE_ROUTE), 0);
    w = l7_unref(w);
    unbound = l7_unref(unbound);
    CHECK_STR(l7_table_entry(l7_service_port(pinned, 80)->rules.table, 0)->route->route_name, "r");
}

TEST(the_last_word_about_a_name_wins)
{
    AUTO(l7) const struct l7 *empty = l7_new(NULL, NULL);
    struct l7_delta *d = l7_delta_new(empty);

    CHECK(l7_put_binding(d, binding("a", "1")));
    CHECK(l7_remove(d, L7_TYPE_BINDING, "w/w/ns/a"));
    CHECK(l7_put_binding(d, binding("a", "2")));
    CHECK(l7_put_binding(d, binding("a", "3")));
    CHECK_INT(l7_delta_count(d), 1);
    AUTO(l7) const struct l7 *w = l7_next(d);
    CHECK_STR(l7_service_find(w, "ns/a")->binding->version, "3");
    d = l7_delta_new(w);
    CHECK(l7_put_binding(d, binding("a", "4")));
    l7_delta_free(d);
}

TEST(a_broken_policy_does_not_replace_a_good_one)
{
    AUTO(l7) const struct l7 *empty = l7_new(NULL, NULL);
    struct l7_delta *d = l7_delta_new(empty);

    CHECK(l7_put_policy(d, policy("a", "1", true, NULL)));
    CHECK(l7_put_policy(d, policy("a", "2", false, NULL)));
    CHECK(!l7_put_policy(d, policy("a", "3", true, NULL)));
    AUTO(l7) const struct l7 *w = l7_next(d);
    CHECK(!l7_service_find(w, "ns/a")->authorization.at[0].policy->broken);
    d = l7_delta_new(w);
    CHECK(!l7_put_policy(d, policy("a", "4", true, NULL)));
    l7_delta_free(d);
}

TEST(key_sets_are_made_once_a_policy)
{
    keys_made = 0;
    keys_freed = 0;
    {
        AUTO(l7) const struct l7 *empty = l7_new(NULL, &maker);
        struct l7_delta *d = l7_delta_new(empty);
        CHECK(l7_put_policy(d, policy("a", "1", false, "good")));
        CHECK(l7_put_policy(d, policy("b", "1", false, "bad")));
        CHECK(l7_put_policy(d, policy("c", "1", false, "")));
        AUTO(l7) const struct l7 *w = l7_next(d);
        CHECK_INT(keys_made, 1);
        CHECK(l7_service_find(w, "ns/a")->authentication.at[0].keys[0]);
        CHECK(!l7_service_find(w, "ns/b")->authentication.at[0].keys[0]);
        d = l7_delta_new(w);
        CHECK(l7_put_binding(d, binding("a", "1")));
        AUTO(l7) const struct l7 *next = l7_next(d);
        CHECK_INT(keys_made, 1); /* taken over */
        CHECK_INT(keys_freed, 0);
        d = l7_delta_new(next);
        CHECK(l7_put_policy(d, policy("a", "2", false, "good")));
        AUTO(l7) const struct l7 *third = l7_next(d);
        CHECK_INT(keys_made, 2);
    }
    CHECK_INT(keys_freed, 2);
}

TEST(ports_of_a_binding_are_checked)
{
    struct l7_bound_port twice[] = {{80, L7_HTTP}, {80, L7_TCP}}, zero[] = {{0, L7_HTTP}};
    struct l7_binding b = {.hostname = "h", .ports = twice, .port_count = 2};
    const struct l7_binding *made = NULL;
    struct diag why;

    CHECK_INT(l7_binding_new(&made, &b, &why), -ERR_EXISTS);
    b = (struct l7_binding){.hostname = "h", .ports = zero, .port_count = 1};
    CHECK_INT(l7_binding_new(&made, &b, &why), -ERR_RANGE);
    b = (struct l7_binding){.hostname = ""};
    CHECK_INT(l7_binding_new(&made, &b, &why), -ERR_SYNTAX);
}

TEST(traffic_settings_are_checked)
{
    struct l7_traffic x = {.hostname = "h", .balance = L7_CONSISTENT_HASH};
    AUTO(l7_traffic) const struct l7_traffic *made = NULL;
    struct diag why = {.code = 0};

    CHECK_INT(l7_traffic_new(&made, &x, &why), -ERR_SYNTAX);
    CHECK(strstr(why.text, "hash:"));
    x.hash.header = "X-User";
    x.outlier.max_ejection_percent = 101;
    CHECK_INT(l7_traffic_new(&made, &x, &why), -ERR_RANGE);
    x.outlier.max_ejection_percent = 0;
    CHECK_INT(l7_traffic_new(&made, &x, &why), 0);
    CHECK_STR(made->hash.header, "x-user");
    CHECK_INT(made->outlier.max_ejection_percent, 10);
    CHECK_INT(made->outlier.base_ejection_ms, 30000);
}
