/* SPDX-License-Identifier: Apache-2.0 */
/* In which order a service's waypoint and the guards of its pods change for node proxies. */
#include "control/turn.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "case_rig.h"
#include "codec/yaml.h"
#include "control/linger.h"
#include "t.h"

#define GUARD   "shop/ambit_only_shop_wp_8080"
#define SERVICE "shop/web.shop.svc.cluster.local"

static const char space[] = "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n";
static const char labelled[] = "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop, labels: "
                               "{istio.io/use-waypoint: wp}}\n";
static const char class[] = "kind: GatewayClass\nmetadata: {name: istio-waypoint}\n"
                            "spec: {controllerName: istio.io/mesh-controller}\n";
static const char gateway[] =
    "kind: Gateway\nmetadata: {name: wp, namespace: shop}\n"
    "spec: {gatewayClassName: istio-waypoint,\n"
    "  listeners: [{name: mesh, port: 15008, protocol: HBONE}]}\n"
    "status: {addresses: [{type: Hostname, value: wp.shop.svc.cluster.local}]}\n";
static const char service[] =
    "kind: Service\nmetadata: {name: web, namespace: shop}\n"
    "spec: {type: ClusterIP, clusterIP: 10.9.0.1, clusterIPs: [10.9.0.1],\n"
    "  selector: {app: web}, ports: [{port: 80, targetPort: 8080, protocol: TCP}]}\n";
static const char pod[] =
    "kind: Pod\nmetadata: {name: web-1, namespace: shop, uid: u-1, labels: {app: web},\n"
    "  annotations: {ambient.istio.io/redirection: enabled}}\n"
    "spec: {nodeName: n1, serviceAccountName: web, containers: [{name: c}]}\n"
    "status: {phase: Running, podIP: 10.8.0.1, podIPs: [{ip: 10.8.0.1}],\n"
    "  conditions: [{type: Ready, status: 'True'}]}\n";
static const char policy[] =
    "kind: AuthorizationPolicy\nmetadata: {name: no-admin, namespace: shop}\n"
    "spec: {targetRefs: [{group: '', kind: Service, name: web}], action: DENY,\n"
    "  rules: [{to: [{operation: {paths: [/admin]}}]}]}\n";

static void settle(struct case_rig *r)
{
    while (index_settle(r->index, INDEX_SETTLE_UNITS)) {
    }
}

static void put(struct case_rig *r, enum index_kind kind, const char *text)
{
    AUTO(json) struct json *all = NULL;

    if (yaml_parse_all(&all, text, strlen(text), NULL) < 0) {
        abort();
    }
    index_put(r->index, kind, json_item(all, 0));
    settle(r);
}

static bool has(const struct catalog *c, const char *name)
{
    const struct catalog_entry *e = catalog_find(c, slice_of(name));

    return e && !catalog_is_gone(e);
}

static bool is_guarded(const struct case_rig *r)
{
    return has(r->policies, GUARD);
}

static bool goes_there(const struct case_rig *r)
{
    static const char host[] = "wp.shop.svc.cluster.local";
    const struct catalog_entry *e = catalog_find(r->addresses, slice_of(SERVICE));
    struct slice v = e && !catalog_is_gone(e) ? catalog_value(e) : (struct slice){"", 0};

    return memmem(v.p, v.len, host, strlen(host)) != NULL;
}

static bool is_bound(const struct case_rig *r)
{
    return has(r->catalogs[ADS_L7_BINDING], "shop/wp/" SERVICE);
}

/* ---- a second waypoint, wq, and a third, wr */

static const char other_gateway[] =
    "kind: Gateway\nmetadata: {name: wq, namespace: shop}\n"
    "spec: {gatewayClassName: istio-waypoint,\n"
    "  listeners: [{name: mesh, port: 15008, protocol: HBONE}]}\n"
    "status: {addresses: [{type: Hostname, value: wq.shop.svc.cluster.local}]}\n";
static const char third_gateway[] =
    "kind: Gateway\nmetadata: {name: wr, namespace: shop}\n"
    "spec: {gatewayClassName: istio-waypoint,\n"
    "  listeners: [{name: mesh, port: 15008, protocol: HBONE}]}\n"
    "status: {addresses: [{type: Hostname, value: wr.shop.svc.cluster.local}]}\n";
static const char moved[] = "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop, labels: "
                            "{istio.io/use-waypoint: wq}}\n";
static const char moved_on[] = "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop, labels: "
                               "{istio.io/use-waypoint: wr}}\n";

/* "wp", "wp wq": whom the pod lets in; "": everybody. */
static const char *lets_in(const struct case_rig *r)
{
    static const char *const all[] = {"wp", "wq", "wr", "wp wq", "wq wr", "wp wr"};
    const char *found = "";

    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        char name[128];
        (void)snprintf(name, sizeof(name), "shop/ambit_only_shop_%.2s%s%s_8080", all[i],
                       all[i][2] ? "_shop_" : "", all[i][2] ? all[i] + 3 : "");
        found = has(r->policies, name) ? all[i] : found;
    }
    return found;
}

/* Where clients are sent. */
static const char *sent_to(const struct case_rig *r)
{
    static const char *const all[] = {"wp", "wq", "wr"};
    const struct catalog_entry *e = catalog_find(r->addresses, slice_of(SERVICE));
    struct slice v = e && !catalog_is_gone(e) ? catalog_value(e) : (struct slice){"", 0};

    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        char host[64];
        (void)snprintf(host, sizeof(host), "%s.shop.svc.cluster.local", all[i]);
        if (memmem(v.p, v.len, host, strlen(host))) {
            return all[i];
        }
    }
    return "";
}

static bool serves(const struct case_rig *r, const char *gateway_name)
{
    char name[128];

    (void)snprintf(name, sizeof(name), "shop/%s/%s", gateway_name, SERVICE);
    return has(r->catalogs[ADS_L7_BINDING], name);
}

/* A cluster that is known, with the label or without. */
static void open(struct case_rig *r, const char *first)
{
    case_rig_open(r, NULL, "cluster.local");
    put(r, INDEX_CLASS, class);
    put(r, INDEX_GATEWAY, gateway);
    put(r, INDEX_GATEWAY, other_gateway);
    put(r, INDEX_GATEWAY, third_gateway);
    put(r, INDEX_SERVICE, service);
    put(r, INDEX_POD, pod);
    put(r, INDEX_AUTHORIZATION, policy);
    put(r, INDEX_NAMESPACE, first);
    index_live(r->index);
}

static void hear(struct case_rig *r, uint64_t published, uint64_t acknowledged, uint64_t now_ms)
{
    struct index_heard h = {published, acknowledged};

    index_hear(r->index, &h, now_ms);
    settle(r);
}

static void hear_all(struct case_rig *r)
{
    uint64_t seq = catalog_seq(r->addresses);

    hear(r, seq, seq, 100);
}

TEST(a_cluster_that_is_read_has_its_guards_at_once)
{
    struct case_rig r;

    open(&r, labelled);
    CHECK(goes_there(&r) && is_guarded(&r));
    CHECK(!index_is_turning(r.index));
    case_rig_close(&r);
}

TEST(at_the_label_guards_follow_the_waypoint)
{
    struct case_rig r;

    open(&r, space);
    put(&r, INDEX_NAMESPACE, labelled);
    uint64_t seq = catalog_seq(r.addresses);
    CHECK(goes_there(&r) && is_bound(&r) && !is_guarded(&r));
    hear(&r, seq, seq - 1, 100);
    CHECK(!is_guarded(&r) && index_is_turning(r.index));
    hear(&r, seq, seq, 150);
    CHECK(goes_there(&r) && is_guarded(&r) && !index_is_turning(r.index));
    case_rig_close(&r);
}

TEST(without_the_label_guards_go_before_the_waypoint)
{
    struct case_rig r;

    open(&r, labelled);
    put(&r, INDEX_NAMESPACE, space);
    uint64_t seq = catalog_seq(r.addresses);
    CHECK(goes_there(&r) && is_bound(&r) && !is_guarded(&r));
    hear(&r, seq, seq - 1, 100);
    CHECK(goes_there(&r) && is_bound(&r));
    hear(&r, seq, seq, 150);
    CHECK(!goes_there(&r) && !is_guarded(&r) && !index_is_turning(r.index));
    CHECK(is_bound(&r)); /* it lingers there */
    index_tick(r.index, UINT64_MAX);
    CHECK(!is_bound(&r));
    case_rig_close(&r);
}

TEST(what_leaves_lingers_for_two_seconds_however_late_the_clock_is)
{
    struct case_rig r;

    open(&r, labelled);
    index_tick(r.index, 1000);
    put(&r, INDEX_NAMESPACE, space);
    uint64_t seq = catalog_seq(r.addresses);
    hear(&r, seq, seq, 1999);
    CHECK(!goes_there(&r) && is_bound(&r));
    index_tick(r.index, 1999 + 1999);
    CHECK(is_bound(&r));
    index_tick(r.index, 1000 + LINGER_MS);
    CHECK(!is_bound(&r));
    case_rig_close(&r);
}

/* From when it could hear of it. */
TEST(a_node_that_is_silent_holds_nothing_up_for_longer_than_a_second)
{
    static const char *const from_to[][2] = {{space, labelled}, {labelled, space}};

    for (size_t i = 0; i < ARRAY_LEN(from_to); i++) {
        struct case_rig r;
        bool attaches = i == 0;
        open(&r, from_to[i][0]);
        put(&r, INDEX_NAMESPACE, from_to[i][1]);
        uint64_t seq = catalog_seq(r.addresses);
        hear(&r, seq - 1, 0, 100);
        hear(&r, seq, 0, 5000);
        hear(&r, seq, 0, 5000 + TURN_WAIT_MS - 1);
        CHECK(goes_there(&r) && !is_guarded(&r));
        hear(&r, seq, 0, 5000 + TURN_WAIT_MS);
        CHECK(goes_there(&r) == attaches && is_guarded(&r) == attaches);
        case_rig_close(&r);
    }
}

TEST(a_label_that_comes_back_meanwhile_guards_at_once)
{
    struct case_rig r;

    open(&r, labelled);
    put(&r, INDEX_NAMESPACE, space);
    put(&r, INDEX_NAMESPACE, labelled);
    CHECK(goes_there(&r) && is_guarded(&r) && !index_is_turning(r.index));
    case_rig_close(&r);
}

TEST(a_label_that_goes_again_meanwhile_waits_for_nobody)
{
    struct case_rig r;

    open(&r, space);
    put(&r, INDEX_NAMESPACE, labelled);
    put(&r, INDEX_NAMESPACE, space);
    CHECK(!goes_there(&r) && !is_guarded(&r) && !index_is_turning(r.index));
    case_rig_close(&r);
}

/* Node proxies know no way to it any more: those that have not heard of the guards are not waited for. */
TEST(a_gateway_that_goes_is_turned_from_at_once)
{
    struct case_rig r;

    open(&r, labelled);
    put(&r, INDEX_NAMESPACE, space);
    CHECK(goes_there(&r) && index_is_turning(r.index));
    index_remove(r.index, INDEX_GATEWAY, "shop", "wp");
    settle(&r);
    CHECK(!goes_there(&r) && !is_guarded(&r) && !index_is_turning(r.index));
    case_rig_close(&r);
}

TEST(pods_stay_guarded_when_their_gateway_goes)
{
    struct case_rig r;

    open(&r, labelled);
    index_remove(r.index, INDEX_GATEWAY, "shop", "wp");
    settle(&r);
    CHECK(is_guarded(&r) && !index_is_turning(r.index));
    put(&r, INDEX_GATEWAY, gateway);
    CHECK(is_guarded(&r) && goes_there(&r) && !index_is_turning(r.index));
    case_rig_close(&r);
}

TEST(a_gateway_that_goes_while_guards_are_to_follow_has_them_at_once)
{
    struct case_rig r;

    open(&r, space);
    put(&r, INDEX_NAMESPACE, labelled);
    CHECK(!is_guarded(&r));
    index_remove(r.index, INDEX_GATEWAY, "shop", "wp");
    settle(&r);
    CHECK(is_guarded(&r) && !index_is_turning(r.index));
    case_rig_close(&r);
}

TEST(policy_for_a_service_that_has_its_waypoint_guards_at_once)
{
    struct case_rig r;

    open(&r, labelled);
    index_remove(r.index, INDEX_AUTHORIZATION, "shop", "no-admin");
    settle(&r);
    CHECK(!is_guarded(&r));
    put(&r, INDEX_AUTHORIZATION, policy);
    CHECK(is_guarded(&r));
    case_rig_close(&r);
}

TEST(a_service_that_is_new_is_guarded_at_once)
{
    struct case_rig r;

    open(&r, labelled);
    index_remove(r.index, INDEX_SERVICE, "shop", "web");
    settle(&r);
    CHECK(!is_guarded(&r));
    put(&r, INDEX_SERVICE, service);
    CHECK(is_guarded(&r) && goes_there(&r));
    case_rig_close(&r);
}

TEST(a_service_that_goes_meanwhile_waits_no_more)
{
    struct case_rig r;

    open(&r, labelled);
    put(&r, INDEX_NAMESPACE, space);
    CHECK(index_is_turning(r.index));
    index_remove(r.index, INDEX_SERVICE, "shop", "web");
    settle(&r);
    CHECK(!index_is_turning(r.index));
    hear_all(&r);
    CHECK(!goes_there(&r));
    case_rig_close(&r);
}

/* ---- from one waypoint to another */

/* So long after the last step of a move, which hear_all or the test had heard at 100. */
static void tick(struct case_rig *r, uint64_t after_ms)
{
    index_tick(r->index, 100 + after_ms);
    settle(r);
}

TEST(a_move_permits_both_then_sends_there_then_takes_the_old_one_away)
{
    struct case_rig r;

    open(&r, labelled);
    put(&r, INDEX_NAMESPACE, moved);
    uint64_t seq = catalog_seq(r.addresses);
    CHECK_STR(lets_in(&r), "wp wq");
    CHECK_STR(sent_to(&r), "wp");
    hear(&r, seq, seq - 1, 100);
    CHECK_STR(sent_to(&r), "wp");
    hear(&r, seq, seq, 150);
    CHECK_STR(sent_to(&r), "wq");
    CHECK_STR(lets_in(&r), "wp wq");
    CHECK(serves(&r, "wq") && serves(&r, "wp")); /* some have not heard yet */
    hear(&r, seq, seq, 200);
    CHECK(index_is_turning(r.index));
    hear_all(&r);
    CHECK(!index_is_turning(r.index));
    CHECK_STR(lets_in(&r), "wp wq"); /* requests are under way there */
    tick(&r, TURN_REST_MOST_MS - 1);
    CHECK_STR(lets_in(&r), "wp wq");
    CHECK(!serves(&r, "wp"));
    tick(&r, TURN_REST_MOST_MS);
    CHECK_STR(lets_in(&r), "wq");
    case_rig_close(&r);
}

/* Of what would judge its requests by now the old one hears nothing. */
TEST(a_move_is_over_earlier_when_policies_change_or_the_old_one_goes)
{
    static const char own[] = "kind: AuthorizationPolicy\nmetadata: {name: own, namespace: shop}\n"
                              "spec: {targetRefs: [{group: gateway.networking.k8s.io, kind: "
                              "Gateway, name: wq}], action: DENY, rules: [{}]}\n";
    static const char other[] =
        "kind: AuthorizationPolicy\nmetadata: {name: else, namespace: shop}\n"
        "spec: {targetRefs: [{group: '', kind: Service, name: else}], "
        "action: DENY, rules: [{}]}\n";
    static const char dry[] =
        "kind: AuthorizationPolicy\nmetadata: {name: no-admin, namespace: shop,\n"
        "  annotations: {istio.io/dry-run: 'true'}}\n"
        "spec: {targetRefs: [{group: '', kind: Service, name: web}], action: DENY,\n"
        "  rules: [{to: [{operation: {paths: [/admin]}}]}]}\n";

    for (int how = 0; how < 5; how++) {
        struct case_rig r;
        open(&r, labelled);
        put(&r, INDEX_NAMESPACE, moved);
        hear_all(&r);
        hear_all(&r);
        CHECK_STR(lets_in(&r), "wp wq");
        switch (how) {
        case 0: /* what is said of it again is no news, nor is another service's */
            put(&r, INDEX_AUTHORIZATION, policy);
            put(&r, INDEX_AUTHORIZATION, other);
            break;
        case 1:
            put(&r, INDEX_AUTHORIZATION, dry);
            put(&r, INDEX_AUTHORIZATION, policy);
            break;
        case 2:
            put(&r, INDEX_AUTHORIZATION, own);
            break;
        case 3:
            index_remove(r.index, INDEX_AUTHORIZATION, "shop", "no-admin");
            put(&r, INDEX_AUTHORIZATION, policy);
            break;
        default:
            index_remove(r.index, INDEX_GATEWAY, "shop", "wp");
            settle(&r);
        }
        tick(&r, TURN_REST_MS - 1);
        CHECK_STR(lets_in(&r), "wp wq");
        tick(&r, TURN_REST_MS);
        CHECK_STR(lets_in(&r), how == 0 ? "wp wq" : "wq");
        case_rig_close(&r);
    }
}

/* Limits and health of backends are no less the old one's while it serves. */
TEST(a_service_that_moves_has_its_traffic_rules_where_it_is)
{
    struct case_rig r;

    open(&r, labelled);
    put(&r, INDEX_RULE,
        "kind: DestinationRule\nmetadata: {name: d, namespace: shop}\n"
        "spec: {host: web, trafficPolicy: {loadBalancer: {simple: RANDOM}}}\n");
    CHECK(has(r.catalogs[ADS_L7_TRAFFIC], "shop/wp/" SERVICE));
    put(&r, INDEX_NAMESPACE, moved);
    CHECK_STR(sent_to(&r), "wp");
    CHECK(has(r.catalogs[ADS_L7_TRAFFIC], "shop/wp/" SERVICE));
    hear_all(&r);
    CHECK(has(r.catalogs[ADS_L7_TRAFFIC], "shop/wq/" SERVICE));
    hear_all(&r);
    put(&r, INDEX_NAMESPACE, space);
    CHECK_STR(sent_to(&r), "wq");
    CHECK(has(r.catalogs[ADS_L7_TRAFFIC], "shop/wq/" SERVICE));
    hear_all(&r);
    CHECK(!has(r.catalogs[ADS_L7_TRAFFIC], "shop/wq/" SERVICE));
    CHECK(!has(r.catalogs[ADS_L7_TRAFFIC], "shop/wp/" SERVICE));
    case_rig_close(&r);
}

TEST(a_silent_node_holds_up_no_step_of_a_move_for_longer_than_a_second)
{
    struct case_rig r;

    open(&r, labelled);
    put(&r, INDEX_NAMESPACE, moved);
    hear(&r, catalog_seq(r.addresses), 0, 5000);
    CHECK_STR(sent_to(&r), "wp");
    hear(&r, catalog_seq(r.addresses), 0, 5000 + TURN_WAIT_MS);
    CHECK_STR(sent_to(&r), "wq");
    hear(&r, catalog_seq(r.addresses), 0, 7000);
    hear(&r, catalog_seq(r.addresses), 0, 7000 + TURN_WAIT_MS);
    CHECK(!index_is_turning(r.index));
    case_rig_close(&r);
}

TEST(a_move_that_is_taken_back_in_time_sends_nobody)
{
    struct case_rig r;

    open(&r, labelled);
    put(&r, INDEX_NAMESPACE, moved);
    put(&r, INDEX_NAMESPACE, labelled);
    CHECK(!index_is_turning(r.index));
    CHECK_STR(sent_to(&r), "wp");
    CHECK_STR(lets_in(&r), "wp");
    case_rig_close(&r);
}

/* Where clients are is known again before they are sent elsewhere. */
TEST(a_move_that_has_begun_ends_before_the_next_one)
{
    struct case_rig r;

    open(&r, labelled);
    put(&r, INDEX_NAMESPACE, moved);
    hear_all(&r);
    CHECK_STR(sent_to(&r), "wq");
    put(&r, INDEX_NAMESPACE, moved_on);
    CHECK_STR(sent_to(&r), "wq");
    CHECK_STR(lets_in(&r), "wp wq");
    hear_all(&r);
    CHECK_STR(sent_to(&r), "wq");
    CHECK_STR(lets_in(&r), "wq wr");
    hear_all(&r);
    CHECK_STR(sent_to(&r), "wr");
    CHECK_STR(lets_in(&r), "wq wr");
    case_rig_close(&r);
}

TEST(a_move_back_at_once_refuses_nobody)
{
    struct case_rig r;

    open(&r, labelled);
    put(&r, INDEX_NAMESPACE, moved);
    hear_all(&r);
    hear_all(&r);
    put(&r, INDEX_NAMESPACE, labelled);
    CHECK_STR(lets_in(&r), "wp wq");
    hear_all(&r);
    CHECK_STR(sent_to(&r), "wp");
    CHECK_STR(lets_in(&r), "wp wq");
    case_rig_close(&r);
}

TEST(a_label_that_goes_in_mid_move_leaves_no_guard)
{
    struct case_rig r;

    open(&r, labelled);
    put(&r, INDEX_NAMESPACE, moved);
    hear_all(&r);
    put(&r, INDEX_NAMESPACE, space);
    CHECK_STR(sent_to(&r), "wq");
    CHECK_STR(lets_in(&r), "");
    hear_all(&r);
    CHECK_STR(sent_to(&r), "");
    CHECK(!index_is_turning(r.index));
    case_rig_close(&r);
}

/* Policy stays in force: nobody comes directly at any step. */
TEST(a_waypoint_that_goes_in_mid_move_leaves_the_pods_guarded)
{
    static const char *const gone[] = {"wp", "wq"};

    for (size_t i = 0; i < ARRAY_LEN(gone); i++) {
        for (unsigned steps = 0; steps < 3; steps++) {
            struct case_rig r;
            open(&r, labelled);
            put(&r, INDEX_NAMESPACE, moved);
            for (unsigned k = 0; k < steps; k++) {
                hear_all(&r);
            }
            index_remove(r.index, INDEX_GATEWAY, "shop", gone[i]);
            settle(&r);
            CHECK(*lets_in(&r) && *sent_to(&r));
            hear_all(&r);
            CHECK(*lets_in(&r) && *sent_to(&r));
            case_rig_close(&r);
        }
    }
}

/* ---- a gateway that is deleted and made again */

static const char unprogrammed[] = "kind: Gateway\nmetadata: {name: wp, namespace: shop}\n"
                                   "spec: {gatewayClassName: istio-waypoint,\n"
                                   "  listeners: [{name: mesh, port: 15008, protocol: HBONE}]}\n";
static const char beside[] =
    "kind: Service\nmetadata: {name: beside, namespace: shop}\n"
    "spec: {type: ClusterIP, clusterIP: 10.9.0.2, clusterIPs: [10.9.0.2],\n"
    "  selector: {app: web}, ports: [{port: 80, targetPort: 8080, protocol: TCP}]}\n";
static const char waypoint_service[] =
    "kind: Service\nmetadata: {name: wp, namespace: shop,\n"
    "  labels: {gateway.istio.io/managed: istio.io-mesh-controller}}\n"
    "spec: {type: ClusterIP, clusterIP: 10.9.0.9, clusterIPs: [10.9.0.9],\n"
    "  selector: {gateway.networking.k8s.io/gateway-name: wp}, ports: [{port: 15008}]}\n";

static bool mentions(const struct catalog *c, const char *name, const char *what)
{
    const struct catalog_entry *e = catalog_find(c, slice_of(name));
    struct slice v = e && !catalog_is_gone(e) ? catalog_value(e) : (struct slice){"", 0};

    return memmem(v.p, v.len, what, strlen(what)) != NULL;
}

/* Clients are sent to the waypoint or to a name that nobody has, and the pod takes nobody else. */
static bool is_closed(const struct case_rig *r)
{
    return mentions(r->addresses, SERVICE, "wp.shop.svc.cluster.local") && is_guarded(r) &&
           mentions(r->addresses, "Kubernetes//Pod/shop/web-1", GUARD) &&
           mentions(r->policies, GUARD, "cluster.local/ns/shop/sa/wp");
}

/* One resource after the other: what a node proxy may see at any time. */
static bool stays_closed(struct case_rig *r)
{
    bool good = is_closed(r);

    while (index_settle(r->index, 1)) {
        good &= is_closed(r);
    }
    return good && is_closed(r);
}

static void note(struct case_rig *r, enum index_kind kind, const char *text)
{
    AUTO(json) struct json *all = NULL;

    if (yaml_parse_all(&all, text, strlen(text), NULL) < 0) {
        abort();
    }
    index_put(r->index, kind, json_item(all, 0));
}

TEST(a_gateway_that_is_made_again_lets_nobody_past_policy_at_any_moment)
{
    struct case_rig r;

    open(&r, labelled);
    put(&r, INDEX_SERVICE, beside);
    put(&r, INDEX_SERVICE, waypoint_service);
    CHECK(is_closed(&r));
    index_remove(r.index, INDEX_GATEWAY, "shop", "wp");
    CHECK(stays_closed(&r));
    index_remove(r.index, INDEX_SERVICE, "shop", "wp");
    CHECK(stays_closed(&r));
    hear_all(&r);
    CHECK(is_closed(&r));
    note(&r, INDEX_GATEWAY, unprogrammed);
    CHECK(stays_closed(&r));
    CHECK(!mentions(r.addresses, "shop/beside.shop.svc.cluster.local", "wp.shop")); /* layer 4 */
    note(&r, INDEX_SERVICE, waypoint_service);
    CHECK(stays_closed(&r));
    hear_all(&r);
    CHECK(is_closed(&r));
    note(&r, INDEX_GATEWAY, gateway);
    CHECK(stays_closed(&r));
    hear_all(&r);
    CHECK(is_closed(&r) && !index_is_turning(r.index));
    CHECK(mentions(r.addresses, "shop/beside.shop.svc.cluster.local", "wp.shop"));
    case_rig_close(&r);
}

/* ---- policies of a gateway that goes while a service lingers there */

static const char gateway_wide[] =
    "kind: AuthorizationPolicy\nmetadata: {name: own, namespace: shop}\n"
    "spec: {targetRefs: [{group: gateway.networking.k8s.io, kind: Gateway, name: wp}],\n"
    "  action: DENY, rules: [{to: [{operation: {paths: [/admin]}}]}]}\n";
static const char class_wide[] =
    "kind: AuthorizationPolicy\nmetadata: {name: all, namespace: istio-system}\n"
    "spec: {targetRefs: [{group: gateway.networking.k8s.io, kind: GatewayClass,\n"
    "    name: istio-waypoint}],\n"
    "  action: DENY, rules: [{to: [{operation: {paths: [/admin]}}]}]}\n";

/* How many of the two judge what wp serves. */
static int judging(const struct case_rig *r)
{
    return has(r->catalogs[ADS_L7_POLICY], "shop/wp/AuthorizationPolicy/shop/own") +
           has(r->catalogs[ADS_L7_POLICY], "shop/wp/AuthorizationPolicy/istio-system/all");
}

/* As it is translated, a resource at a time: whatever is served there is judged. */
static bool stays_judged(struct case_rig *r)
{
    bool good = !is_bound(r) || judging(r) == 2;

    while (index_settle(r->index, 1)) {
        good &= !is_bound(r) || judging(r) == 2;
    }
    return good;
}

static bool opens_judged(struct case_rig *r)
{
    open(r, labelled);
    put(r, INDEX_AUTHORIZATION, gateway_wide);
    put(r, INDEX_AUTHORIZATION, class_wide);
    index_tick(r->index, 1000);
    return is_bound(r) && judging(r) == 2;
}

TEST(what_lingers_at_a_gateway_that_is_gone_is_judged_by_all_its_policies)
{
    struct case_rig r;

    CHECK(opens_judged(&r));
    put(&r, INDEX_NAMESPACE, space);
    hear_all(&r);
    index_tick(r.index, 2000);
    index_remove(r.index, INDEX_GATEWAY, "shop", "wp");
    CHECK(stays_judged(&r) && is_bound(&r));
    index_tick(r.index, 1000 + LINGER_MS - 1);
    CHECK(stays_judged(&r) && is_bound(&r));
    index_tick(r.index, 1000 + LINGER_MS);
    CHECK(!is_bound(&r));
    index_tick(r.index, 2000 + LINGER_MS);
    CHECK_INT(judging(&r), 0);
    case_rig_close(&r);
}

TEST(what_a_gateway_serves_when_it_goes_is_judged_by_all_its_policies_until_it_is_gone_too)
{
    struct case_rig r;

    CHECK(opens_judged(&r));
    index_remove(r.index, INDEX_GATEWAY, "shop", "wp");
    CHECK(is_bound(&r) && stays_judged(&r) && !is_bound(&r));
    index_tick(r.index, 1000 + LINGER_MS);
    CHECK_INT(judging(&r), 0);
    case_rig_close(&r);
}

/* What lingered is its own again: the time is over for nothing, and what holds no more goes at once. */
TEST(a_gateway_that_is_made_again_takes_its_policies_back)
{
    struct case_rig r;

    CHECK(opens_judged(&r));
    for (uint64_t again = 0; again < 2; again++) {
        index_remove(r.index, INDEX_GATEWAY, "shop", "wp");
        CHECK(stays_judged(&r));
        note(&r, INDEX_GATEWAY, gateway);
        index_tick(r.index, 1000 + LINGER_MS * (again + 1)); /* before it is translated */
        CHECK(stays_judged(&r) && is_bound(&r) && judging(&r) == 2);
    }
    index_remove(r.index, INDEX_GATEWAY, "shop", "wp");
    index_remove(r.index, INDEX_AUTHORIZATION, "shop", "own");
    settle(&r);
    put(&r, INDEX_GATEWAY, gateway);
    CHECK(is_bound(&r));
    CHECK_INT(judging(&r), 1);
    index_tick(r.index, UINT64_MAX);
    settle(&r);
    CHECK_INT(judging(&r), 1);
    case_rig_close(&r);
}

/* Of one that never was there the same holds: what comes to it directly is let in only where no other
 * service's policy says who may come. */
TEST(a_waypoint_that_is_awaited_opens_no_port_that_another_guards)
{
    struct case_rig r;

    open(&r, labelled);
    put(&r, INDEX_GATEWAY,
        "kind: Gateway\nmetadata: {name: late, namespace: shop}\n"
        "spec: {gatewayClassName: istio-waypoint,\n"
        "  listeners: [{name: mesh, port: 15008, protocol: HBONE}]}\n");
    put(&r, INDEX_SERVICE,
        "kind: Service\nmetadata: {name: beside, namespace: shop,\n"
        "  labels: {istio.io/use-waypoint: late}}\n"
        "spec: {type: ClusterIP, clusterIP: 10.9.0.2, clusterIPs: [10.9.0.2],\n"
        "  selector: {app: web}, ports: [{port: 80, targetPort: 8080, protocol: TCP}]}\n");
    CHECK(has(r.policies, "shop/ambit_only_shop_late_shop_wp_8080"));
    put(&r, INDEX_SERVICE,
        "kind: Service\nmetadata: {name: beside, namespace: shop,\n"
        "  labels: {istio.io/use-waypoint: late},\n"
        "  annotations: {ambit.io/waypoint-bypass: allow}}\n"
        "spec: {type: ClusterIP, clusterIP: 10.9.0.2, clusterIPs: [10.9.0.2],\n"
        "  selector: {app: web}, ports: [{port: 80, targetPort: 8080, protocol: TCP}]}\n");
    CHECK_STR(lets_in(&r), "");
    case_rig_close(&r);
}

/* ---- services of other namespaces that name the pod */

static const char evil_gateway[] =
    "kind: Gateway\nmetadata: {name: ewp, namespace: evil}\n"
    "spec: {gatewayClassName: istio-waypoint,\n"
    "  listeners: [{name: mesh, port: 15008, protocol: HBONE}]}\n"
    "status: {addresses: [{type: Hostname, value: ewp.evil.svc.cluster.local}]}\n";
static const char evil_service[] =
    "kind: Service\nmetadata: {name: bad, namespace: evil}\n"
    "spec: {type: ClusterIP, clusterIP: 10.9.6.6, clusterIPs: [10.9.6.6],\n"
    "  ports: [{name: p, port: 80, targetPort: 8080, protocol: TCP}]}\n";
static const char evil_slice[] =
    "kind: EndpointSlice\nmetadata: {name: bad-1, namespace: evil,\n"
    "  labels: {kubernetes.io/service-name: bad}}\naddressType: IPv4\n"
    "endpoints: [{addresses: [10.8.0.1],\n"
    "  targetRef: {kind: Pod, namespace: shop, name: web-1, uid: u-1}}]\n"
    "ports: [{name: p, port: 8080, protocol: TCP}]\n";
static const char evil_address[] =
    "kind: EndpointSlice\nmetadata: {name: bad-1, namespace: evil,\n"
    "  labels: {kubernetes.io/service-name: bad}}\naddressType: IPv4\n"
    "endpoints: [{addresses: [10.8.0.1]}]\n"
    "ports: [{name: p, port: 8080, protocol: TCP}]\n";
static const char evil_policy[] =
    "kind: AuthorizationPolicy\nmetadata: {name: mine, namespace: evil}\n"
    "spec: {targetRefs: [{group: '', kind: Service, name: bad}], action: DENY,\n"
    "  rules: [{to: [{operation: {paths: [/x]}}]}]}\n";

/* As the pod names it, and nothing beside it. */
static bool takes_only_its_own_waypoint(const struct case_rig *r)
{
    static const char name[] = "Kubernetes//Pod/shop/web-1";

    return mentions(r->addresses, name, GUARD) && !mentions(r->addresses, name, "_evil_") &&
           strcmp(lets_in(r), "wp") == 0;
}

TEST(a_slice_of_another_namespace_neither_opens_a_pod_nor_lets_its_waypoint_in)
{
    static const char *const slices[] = {evil_slice, evil_address};

    for (size_t i = 0; i < ARRAY_LEN(slices); i++) {
        struct case_rig r;
        open(&r, labelled);
        put(&r, INDEX_NAMESPACE, "kind: Namespace\nmetadata: {name: evil}\n");
        put(&r, INDEX_SERVICE, evil_service);
        put(&r, INDEX_SLICE, slices[i]);
        CHECK(takes_only_its_own_waypoint(&r));
        CHECK(mentions(r.addresses,
                       i == 0 ? "Kubernetes//Pod/shop/web-1"
                              : "Kubernetes/discovery.k8s.io/EndpointSlice/evil/"
                                "bad-1/10.8.0.1",
                       "evil/bad")); /* the attack arrives */
        CHECK(!mentions(r.addresses,
                        "Kubernetes/discovery.k8s.io/EndpointSlice/evil/bad-1/10.8.0.1",
                        "web")); /* no identity is borrowed */
        put(&r, INDEX_GATEWAY, evil_gateway);
        put(&r, INDEX_NAMESPACE,
            "kind: Namespace\nmetadata: {name: evil, labels: {istio.io/use-waypoint: ewp}}\n");
        hear_all(&r);
        CHECK(mentions(r.addresses, "evil/bad.evil.svc.cluster.local", "ewp.evil"));
        CHECK(takes_only_its_own_waypoint(&r));
        put(&r, INDEX_AUTHORIZATION, evil_policy);
        hear_all(&r);
        CHECK(takes_only_its_own_waypoint(&r));
        index_remove(r.index, INDEX_AUTHORIZATION, "shop", "no-admin");
        settle(&r);
        CHECK(!mentions(r.addresses, "Kubernetes//Pod/shop/web-1", "ambit_only"));
        case_rig_close(&r);
    }
}
