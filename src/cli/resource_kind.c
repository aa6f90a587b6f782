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
}

static void fill_node(const struct json *o, struct json *row)
{
    fill_condition(o, "Ready", row, "ready");
}

static void fill_policy(const struct json *o, struct json *row)
{
    json_set_str(row, "action", json_str_at(o, "spec.action", "ALLOW"));
    json_set_int(row, "rules", (int64_t)json_count(json_at(o, "spec.rules")));
    fill_condition(o, "ZtunnelAccepted", row, "accepted");
}

static void fill_peer(const struct json *o, struct json *row)
{
    json_set_str(row, "mode", json_str_at(o, "spec.mtls.mode", "UNSET"));
}

static void fill_gateway(const struct json *o, struct json *row)
{
    copy(o, "spec.gatewayClassName", row, "class");
    fill_condition(o, "Programmed", row, "programmed");
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
static const struct row_column service_columns[] = {
    TEXT("TYPE", "type"), TEXT("ADDRESSES", "addresses"), TEXT("PORTS", "ports"), {0}};
static const struct row_column node_columns[] = {TEXT("READY", "ready"), {0}};
static const struct row_column policy_columns[] = {
    TEXT("ACTION", "action"), TEXT("RULES", "rules"), TEXT("ACCEPTED", "accepted"), {0}};
static const struct row_column peer_columns[] = {TEXT("MODE", "mode"), {0}};
static const struct row_column gateway_columns[] = {
    TEXT("CLASS", "class"), TEXT("PROGRAMMED", "programmed"), {0}};
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
     no_columns,
     NULL,
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
     no_columns,
     NULL,
     NULL},
    {"GatewayClass",
     "gatewayclass",
     "gc",
     GATEWAY,
     {"gateway.networking.k8s.io", "v1", "gatewayclasses", false},
     no_columns,
     NULL,
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
     no_columns,
     NULL,
     NULL},
    {"GRPCRoute",
     "grpcroute",
     "",
     "gateway.networking.k8s.io/v1",
     {"gateway.networking.k8s.io", "v1", "grpcroutes", true},
     no_columns,
     NULL,
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
    if (best) {
        (void)FAIL(why, -ERR_SYNTAX, "no kind %s; did you mean %s?", word, best); /* NULL says it */
    } else {
        (void)FAIL(why, -ERR_SYNTAX, "no kind %s is known here; kubectl may know it", word);
    }
    return NULL;
}

static bool has_word(const char *words, const char *word)
{
    struct slice rest = slice_of(words);
    struct slice one;
    bool more;

    do {
        more = slice_cut(rest, '|', &one, &rest);
        if (slice_is(one, word)) {
            return true;
        }
    } while (more);
    return false;
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
        if (has_word(kinds[i].api_versions, version)) {
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
    (void)FAIL(why, -ERR_SYNTAX, "kind: %s is not known here%s%s", kind,
               best ? "; did you mean " : "", best ? best : ""); /* likewise */
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
