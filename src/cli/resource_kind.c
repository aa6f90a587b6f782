/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/resource_kind.h"

#include <string.h>
#include <strings.h>

#include "cli/manifest_check.h"
#include "cli/near.h"
#include "cli/rows.h"
#include "cli/span.h"
#include "codec/json.h"

/* ---- cells */

static void copy(const struct json *o, const char *path, struct json *row, const char *key)
{
    const struct json *v = json_at(o, path);

    if (v) {
        json_set(row, key, json_clone(v));
    }
}

/* "ready", "not ready", or nothing where there is no such condition. */
static void fill_condition(const struct json *o, const char *type, struct json *row,
                           const char *key)
{
    const struct json *all = json_at(o, "status.conditions");

    for (size_t i = 0; i < json_count(all); i++) {
        if (strcmp(json_str_at(json_item(all, i), "type", ""), type) == 0) {
            json_set_str(row, key, json_str_at(json_item(all, i), "status", ""));
        }
    }
}

static const char dataplane_mode[] = "istio.io/dataplane-mode";

static void fill_namespace(const struct json *o, struct json *row)
{
    const char *mode = json_str(json_get(json_at(o, "metadata.labels"), dataplane_mode), "");

    copy(o, "status.phase", row, "status");
    json_set_str(row, "mesh", strcmp(mode, "ambient") == 0 ? "in" : *mode ? mode : "out");
}

static void fill_pod(const struct json *o, struct json *row)
{
    const char *redirection =
        json_str(json_get(json_at(o, "metadata.annotations"), "ambient.istio.io/redirection"), "");
    const struct json *ips = json_at(o, "status.podIPs");
    struct json *addresses = json_make_array(row, "ips");

    for (size_t i = 0; i < json_count(ips); i++) {
        json_append_str(addresses, json_str_at(json_item(ips, i), "ip", ""));
    }
    copy(o, "status.phase", row, "status");
    if (json_at(o, "metadata.deletionTimestamp")) {
        json_set_str(row, "status", "Terminating");
    }
    json_set_str(row, "mesh", strcmp(redirection, "enabled") == 0 ? "in" : "out");
    copy(o, "spec.nodeName", row, "node");
    copy(o, "spec.serviceAccountName", row, "account");
}

static void fill_service(const struct json *o, struct json *row)
{
    const struct json *all = json_at(o, "spec.ports");
    struct json *ports = json_make_array(row, "ports");

    for (size_t i = 0; i < json_count(all); i++) {
        json_append(ports, json_new_int(json_int_at(json_item(all, i), "port", 0)));
    }
    copy(o, "spec.type", row, "type");
    copy(o, "spec.clusterIPs", row, "addresses");
    json_set_str(row, "waypoint",
                 json_str(json_get(json_at(o, "metadata.labels"), "istio.io/use-waypoint"), ""));
}

static void fill_node(const struct json *o, struct json *row)
{
    fill_condition(o, "Ready", row, "ready");
}

/* "Service/cart" of each reference; kind is what one without a kind means. */
static void add_refs(const struct json *refs, const char *kind, struct json *into)
{
    for (size_t i = 0; i < json_count(refs); i++) {
        const struct json *r = json_item(refs, i);
        AUTO(strbuf) struct strbuf b = {0};
        strbuf_printf(&b, "%s/%s", json_str_at(r, "kind", kind), json_str_at(r, "name", ""));
        json_append_str(into, strbuf_text(&b));
    }
}

static void fill_targets(const struct json *o, struct json *row)
{
    struct json *targets = json_make_array(row, "targets");
    AUTO(json) struct json *one = json_new_array();

    if (json_at(o, "spec.targetRef")) {
        json_append(one, json_clone(json_at(o, "spec.targetRef")));
    }
    add_refs(one, "", targets);
    add_refs(json_at(o, "spec.targetRefs"), "", targets);
}

static void fill_policy(const struct json *o, struct json *row)
{
    json_set_str(row, "action", json_str_at(o, "spec.action", "ALLOW"));
    json_set_int(row, "rules", (int64_t)json_count(json_at(o, "spec.rules")));
    fill_condition(o, "WaypointAccepted", row, "accepted");
    fill_condition(o, "ZtunnelAccepted", row, "accepted");
    fill_targets(o, row);
}

static void fill_authentication(const struct json *o, struct json *row)
{
    const struct json *rules = json_at(o, "spec.jwtRules");
    struct json *issuers = json_make_array(row, "issuers");

    for (size_t i = 0; i < json_count(rules); i++) {
        json_append_str(issuers, json_str_at(json_item(rules, i), "issuer", ""));
    }
    fill_targets(o, row);
    fill_condition(o, "WaypointAccepted", row, "accepted");
}

static void fill_destination(const struct json *o, struct json *row)
{
    copy(o, "spec.host", row, "host");
}

/* Of parents that answered: "True" when all accept it. */
static void fill_route(const struct json *o, struct json *row)
{
    const struct json *parents = json_at(o, "status.parents");

    copy(o, "spec.hostnames", row, "hosts");
    add_refs(json_at(o, "spec.parentRefs"), "Gateway", json_make_array(row, "parents"));
    json_set_int(row, "rules", (int64_t)json_count(json_at(o, "spec.rules")));
    for (size_t i = 0; i < json_count(parents); i++) {
        const struct json *all = json_get(json_item(parents, i), "conditions");
        for (size_t k = 0; k < json_count(all); k++) {
            const char *status = json_str_at(json_item(all, k), "status", "");
            bool is_bad = strcmp(json_str_at(row, "accepted", "True"), "True") != 0;
            if (strcmp(json_str_at(json_item(all, k), "type", ""), "Accepted") == 0 && !is_bad) {
                json_set_str(row, "accepted", status);
            }
        }
    }
}

static void fill_deployment(const struct json *o, struct json *row)
{
    AUTO(strbuf) struct strbuf b = {0};

    strbuf_printf(&b, "%d/%d", (int)json_int_at(o, "status.readyReplicas", 0),
                  (int)json_int_at(o, "spec.replicas", 1));
    json_set_str(row, "ready", strbuf_text(&b));
}

static void fill_peer(const struct json *o, struct json *row)
{
    json_set_str(row, "mode", json_str_at(o, "spec.mtls.mode", "UNSET"));
}

static void fill_gateway(const struct json *o, struct json *row)
{
    copy(o, "spec.gatewayClassName", row, "class");
    fill_condition(o, "Programmed", row, "programmed");
    const struct json *all = json_at(o, "status.addresses");
    struct json *addresses = json_make_array(row, "addresses");
    for (size_t i = 0; i < json_count(all); i++) {
        json_append_str(addresses, json_str_at(json_item(all, i), "value", ""));
    }
}

static void fill_class(const struct json *o, struct json *row)
{
    copy(o, "spec.controllerName", row, "controller");
    fill_condition(o, "Accepted", row, "accepted");
}

static void fill_hosts(const struct json *o, struct json *row)
{
    copy(o, "spec.hosts", row, "hosts");
}

static void fill_slice(const struct json *o, struct json *row)
{
    const struct json *all = json_get(o, "endpoints");
    struct json *addresses = json_make_array(row, "addresses");

    for (size_t i = 0; i < json_count(all); i++) {
        json_append_str(addresses,
                        json_str(json_item(json_get(json_item(all, i), "addresses"), 0), ""));
    }
}

#define TEXT(head, key)                                                                            \
    {                                                                                              \
        head, key, CELL_TEXT, false                                                                \
    }

static const struct row_column namespace_columns[] = {
    TEXT("STATUS", "status"), {"MESH", "mesh", CELL_VERDICT, false}, {0}};
static const struct row_column pod_columns[] = {
    TEXT("STATUS", "status"), {"MESH", "mesh", CELL_VERDICT, false},   TEXT("ADDRESSES", "ips"),
    TEXT("NODE", "node"),     {"ACCOUNT", "account", CELL_TEXT, true}, {0}};
static const struct row_column service_columns[] = {TEXT("TYPE", "type"),
                                                    TEXT("ADDRESSES", "addresses"),
                                                    TEXT("PORTS", "ports"),
                                                    {"WAYPOINT", "waypoint", CELL_TEXT, true},
                                                    {0}};
static const struct row_column node_columns[] = {TEXT("READY", "ready"), {0}};
static const struct row_column policy_columns[] = {TEXT("ACTION", "action"),
                                                   TEXT("RULES", "rules"),
                                                   TEXT("ACCEPTED", "accepted"),
                                                   {"TARGETS", "targets", CELL_TEXT, true},
                                                   {0}};
static const struct row_column authentication_columns[] = {
    TEXT("ISSUERS", "issuers"), TEXT("TARGETS", "targets"), TEXT("ACCEPTED", "accepted"), {0}};
static const struct row_column destination_columns[] = {TEXT("HOST", "host"), {0}};
static const struct row_column class_columns[] = {
    TEXT("CONTROLLER", "controller"), TEXT("ACCEPTED", "accepted"), {0}};
static const struct row_column route_columns[] = {TEXT("PARENTS", "parents"),
                                                  TEXT("HOSTS", "hosts"),
                                                  TEXT("RULES", "rules"),
                                                  TEXT("ACCEPTED", "accepted"),
                                                  {0}};
static const struct row_column deployment_columns[] = {TEXT("READY", "ready"), {0}};
static const struct row_column peer_columns[] = {TEXT("MODE", "mode"), {0}};
static const struct row_column gateway_columns[] = {TEXT("CLASS", "class"),
                                                    TEXT("PROGRAMMED", "programmed"),
                                                    {"ADDRESSES", "addresses", CELL_TEXT, true},
                                                    {0}};
static const struct row_column host_columns[] = {TEXT("HOSTS", "hosts"), {0}};
static const struct row_column slice_columns[] = {TEXT("ADDRESSES", "addresses"), {0}};
static const struct row_column no_columns[] = {{0}};

/* ---- kinds */

#define SECURITY   "security.istio.io/v1|security.istio.io/v1beta1"
#define NETWORKING "networking.istio.io/v1|networking.istio.io/v1beta1|networking.istio.io/v1alpha3"
#define GATEWAY    "gateway.networking.k8s.io/v1|gateway.networking.k8s.io/v1beta1"

static const struct resource_kind kinds[] = {
    {"Namespace",
     "namespace",
     "ns",
     "v1",
     {"", "v1", "namespaces", false},
     namespace_columns,
     fill_namespace,
     NULL},
    {"Pod", "pod", "po", "v1", {"", "v1", "pods", true}, pod_columns, fill_pod, NULL},
    {"Service",
     "service",
     "svc",
     "v1",
     {"", "v1", "services", true},
     service_columns,
     fill_service,
     manifest_check_service},
    {"ServiceAccount",
     "serviceaccount",
     "sa",
     "v1",
     {"", "v1", "serviceaccounts", true},
     no_columns,
     NULL,
     NULL},
    {"Node", "node", "no", "v1", {"", "v1", "nodes", false}, node_columns, fill_node, NULL},
    {"ConfigMap", "configmap", "cm", "v1", {"", "v1", "configmaps", true}, no_columns, NULL, NULL},
    {"Secret", "secret", "", "v1", {"", "v1", "secrets", true}, no_columns, NULL, NULL},
    {"EndpointSlice",
     "endpointslice",
     "",
     "discovery.k8s.io/v1",
     {"discovery.k8s.io", "v1", "endpointslices", true},
     slice_columns,
     fill_slice,
     NULL},
    {"AuthorizationPolicy",
     "authorizationpolicy",
     "ap",
     SECURITY,
     {"security.istio.io", "v1", "authorizationpolicies", true},
     policy_columns,
     fill_policy,
     manifest_check_authorization},
    {"PeerAuthentication",
     "peerauthentication",
     "pa",
     SECURITY,
     {"security.istio.io", "v1", "peerauthentications", true},
     peer_columns,
     fill_peer,
     manifest_check_peer},
    {"RequestAuthentication",
     "requestauthentication",
     "ra",
     SECURITY,
     {"security.istio.io", "v1", "requestauthentications", true},
     authentication_columns,
     fill_authentication,
     NULL},
    {"ServiceEntry",
     "serviceentry",
     "se",
     NETWORKING,
     {"networking.istio.io", "v1", "serviceentries", true},
     host_columns,
     fill_hosts,
     NULL},
    {"WorkloadEntry",
     "workloadentry",
     "we",
     NETWORKING,
     {"networking.istio.io", "v1", "workloadentries", true},
     no_columns,
     NULL,
     NULL},
    {"DestinationRule",
     "destinationrule",
     "dr",
     NETWORKING,
     {"networking.istio.io", "v1", "destinationrules", true},
     destination_columns,
     fill_destination,
     NULL},
    {"GatewayClass",
     "gatewayclass",
     "gc",
     GATEWAY,
     {"gateway.networking.k8s.io", "v1", "gatewayclasses", false},
     class_columns,
     fill_class,
     NULL},
    {"Gateway",
     "gateway",
     "gtw",
     GATEWAY,
     {"gateway.networking.k8s.io", "v1", "gateways", true},
     gateway_columns,
     fill_gateway,
     NULL},
    {"HTTPRoute",
     "httproute",
     "",
     GATEWAY,
     {"gateway.networking.k8s.io", "v1", "httproutes", true},
     route_columns,
     fill_route,
     NULL},
    {"GRPCRoute",
     "grpcroute",
     "",
     "gateway.networking.k8s.io/v1",
     {"gateway.networking.k8s.io", "v1", "grpcroutes", true},
     route_columns,
     fill_route,
     NULL},
    {"TCPRoute",
     "tcproute",
     "",
     "gateway.networking.k8s.io/v1|gateway.networking.k8s.io/v1alpha2",
     {"gateway.networking.k8s.io", "v1", "tcproutes", true},
     route_columns,
     fill_route,
     NULL},
    {"ReferenceGrant",
     "referencegrant",
     "refgrant",
     GATEWAY,
     {"gateway.networking.k8s.io", "v1", "referencegrants", true},
     no_columns,
     NULL,
     NULL},
    {"Deployment",
     "deployment",
     "deploy",
     "apps/v1",
     {"apps", "v1", "deployments", true},
     deployment_columns,
     fill_deployment,
     NULL},
};

static bool is_called(const struct resource_kind *k, const char *word, size_t len)
{
    const char *names[] = {k->kind, k->singular, k->resource.plural, k->short_name};

    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (len > 0 && strlen(names[i]) == len && strncasecmp(names[i], word, len) == 0) {
            return true;
        }
    }
    return false;
}

/* Kinds of Istio and the Gateway API that nothing here reads: objects of them would have no effect. */
static bool is_unused(const char *word)
{
    static const char *const unused[] = {
        "VirtualService", "Telemetry",     "EnvoyFilter", "Sidecar",  "WasmPlugin",
        "ProxyConfig",    "WorkloadGroup", "TLSRoute",    "UDPRoute", "BackendTLSPolicy"};

    for (size_t i = 0; i < ARRAY_LEN(unused); i++) {
        if (strncasecmp(word, unused[i], strlen(unused[i])) == 0) {
            return true;
        }
    }
    return false;
}

const struct resource_kind *resource_kind_find(const char *word, struct diag *why)
{
    const char *dot = strchr(word, '.');
    const char *best = NULL;

    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        bool group = !dot || strcmp(dot + 1, kinds[i].resource.group) == 0;
        if (group && is_called(&kinds[i], word, dot ? (size_t)(dot - word) : strlen(word))) {
            return &kinds[i];
        }
        best = near_best(word, best, kinds[i].singular);
    }
    if (strchr(word, ',')) {
        (void)FAIL(why, -ERR_SYNTAX, "%s: one KIND at a time", word); /* NULL says it */
    } else if (is_unused(word)) {
        (void)FAIL(why, -ERR_SYNTAX, "kind %s means nothing to Ambit", word); /* likewise */
    } else if (best) {
        (void)FAIL(why, -ERR_SYNTAX, "no kind %s; did you mean %s?", word, best); /* NULL says it */
    } else {
        (void)FAIL(why, -ERR_SYNTAX, "no kind %s is known here; kubectl may know it", word);
    }
    return NULL;
}

const struct resource_kind *resource_kind_of(const struct json *o, struct diag *why)
{
    const char *kind = json_str_at(o, "kind", "");
    const char *version = json_str_at(o, "apiVersion", "");

    if (!*kind || !*version) {
        (void)FAIL(why, -ERR_SYNTAX, "%s is missing",
                   *kind ? "apiVersion" : "kind"); /* NULL says */
        return NULL;
    }
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        if (strcmp(kinds[i].kind, kind) != 0) {
            continue;
        }
        if (slice_has_word(slice_of(kinds[i].api_versions), '|', version)) {
            return &kinds[i];
        }
        (void)FAIL(why, -ERR_SYNTAX, "apiVersion: %s has no %s; write %.*s", version, kind,
                   (int)strcspn(kinds[i].api_versions, "|"), kinds[i].api_versions); /* likewise */
        return NULL;
    }
    const char *best = NULL;
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        best = near_best(kind, best, kinds[i].kind);
    }
    if (is_unused(kind)) {
        (void)FAIL(why, -ERR_SYNTAX, "kind: %s means nothing to Ambit; take it out", kind);
        return NULL; /* likewise */
    }
    (void)FAIL(why, -ERR_SYNTAX, "kind: %s is not known here; %s%s%s", kind,
               best ? "did you mean " : "kubectl may know it", best ? best : "",
               best ? "?" : ""); /* likewise */
    return NULL;
}

/* ---- rows */

struct json *resource_kind_row(const struct resource_kind *k, const struct json *o, int64_t now_s)
{
    struct json *row = json_new_object();
    int64_t made_s;

    copy(o, "metadata.namespace", row, "namespace");
    copy(o, "metadata.name", row, "name");
    if (k->fill) {
        k->fill(o, row);
    }
    if (span_time(json_str_at(o, "metadata.creationTimestamp", ""), &made_s) == 0) {
        json_set_int(row, "age_s", now_s - made_s);
    }
    return row;
}

void resource_kind_columns(const struct resource_kind *k, bool with_namespace,
                           struct row_column *out)
{
    unsigned n = 0;

    if (with_namespace && k->resource.namespaced) {
        out[n++] = (struct row_column)TEXT("NAMESPACE", "namespace");
    }
    out[n++] = (struct row_column)TEXT("NAME", "name");
    for (const struct row_column *c = k->columns; c->head && n < RESOURCE_COLUMNS_MAX - 2; c++) {
        out[n++] = *c;
    }
    out[n++] = (struct row_column){"AGE", "age_s", CELL_SPAN_S, false};
    out[n] = (struct row_column){0};
}
