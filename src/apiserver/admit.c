/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/admit.h"

#include <string.h>

#include "apiserver/api_status.h"
#include "apiserver/call_int.h"
#include "apiserver/fault.h"
#include "apiserver/hostname.h"
#include "apiserver/meta.h"
#include "apiserver/object.h"
#include "apiserver/store.h"
#include "apiserver/traffic_rule.h"
#include "base/mem.h"
#include "base/num.h"
#include "codec/base64.h"
#include "codec/json.h"

bool admit_is_kept(const struct admission *a)
{
    return a->old && json_same(json_get(a->old, "spec"), json_get(a->object, "spec"));
}

/* ---- namespaces */

void admit_namespace(struct admission *a)
{
    struct json *labels = json_make_object(a->object, "metadata.labels");

    json_set_str(labels, "kubernetes.io/metadata.name",
                 json_str_at(a->object, "metadata.name", ""));
    if (a->old) {
        json_set(a->object, "spec", json_clone(json_get(a->old, "spec")));
        return;
    }
    struct json *finalizers = json_make_array(a->object, "spec.finalizers");
    json_clear(finalizers);
    json_append_str(finalizers, "kubernetes");
    json_set_str(json_make_object(a->object, "status"), "phase", "Active");
}

/* ---- pods */

static void check_account(struct admission *a)
{
    struct json *spec = json_get(a->object, "spec");
    const char *name = json_str_at(spec, "serviceAccountName", "");
    const char *ns = json_str_at(a->object, "metadata.namespace", "");
    AUTO(strbuf) struct strbuf text = {0};

    if (name[0] == '\0') {
        const char *older = json_str_at(spec, "serviceAccount", "");
        json_set_str(spec, "serviceAccountName", older[0] != '\0' ? older : "default");
        name = json_str_at(spec, "serviceAccountName", "");
    }
    json_set_str(spec, "serviceAccount", name);
    if (store_find(a->api->store, kind_named("", "ServiceAccount"), ns, name)) {
        return;
    }
    const char *pod = json_str_at(a->object, "metadata.name", "");
    strbuf_printf(
        &text,
        "pods \"%s\" is forbidden: error looking up service account %s/%s: serviceaccount "
        "\"%s\" not found",
        pod, ns, name, name);
    a->refusal = api_status_failure(403, "Forbidden", strbuf_text(&text));
    api_status_about(a->refusal, a->kind, pod);
}

static void check_containers(struct admission *a, const char *list)
{
    const struct json *all = json_get(json_get(a->object, "spec"), list);

    for (size_t i = 0; i < json_count(all); i++) {
        const struct json *c = json_item(all, i);
        AUTO(strbuf) struct strbuf path = {0};
        if (json_str_at(c, "image", "")[0] == '\0') {
            strbuf_printf(&path, "spec.%s[%zu].image", list, i);
            faults_add(a->faults, FAULT_REQUIRED, strbuf_text(&path), NULL);
        }
        if (json_str_at(c, "name", "")[0] == '\0') {
            strbuf_clear(&path);
            strbuf_printf(&path, "spec.%s[%zu].name", list, i);
            faults_add(a->faults, FAULT_REQUIRED, strbuf_text(&path), NULL);
        }
    }
}

/* The spec without what may change in a running pod. */
static struct json *fixed_part(const struct json *pod)
{
    static const char *const mutable_fields[] = {"activeDeadlineSeconds", "tolerations",
                                                 "terminationGracePeriodSeconds"};
    static const char *const lists[] = {"containers", "initContainers"};
    struct json *spec = json_clone(json_get(pod, "spec"));

    for (size_t i = 0; spec && i < ARRAY_LEN(mutable_fields); i++) {
        (void)json_remove(spec, mutable_fields[i]); /* absent is fine */
    }
    for (size_t k = 0; k < ARRAY_LEN(lists); k++) {
        struct json *all = json_get(spec, lists[k]);
        for (size_t i = 0; i < json_count(all); i++) {
            (void)json_remove(json_item(all, i), "image"); /* absent is fine */
        }
    }
    return spec;
}

static void check_fixed(struct admission *a)
{
    AUTO(json) struct json *was = fixed_part(a->old);
    AUTO(json) struct json *is = fixed_part(a->object);

    if (!json_same(was, is)) {
        faults_add(a->faults, FAULT_FORBIDDEN, "spec",
                   "pod updates may not change fields other than `spec.containers[*].image`,"
                   "`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` "
                   "(only additions to existing tolerations),`spec.terminationGracePeriodSeconds` "
                   "(allow it to be set to 1 if it was previously negative)");
    }
}

/* podIP is the first of podIPs: whoever writes one of them means both. */
static void align_addresses(struct json *status)
{
    const char *ip = json_str_at(status, "podIP", "");
    struct json *ips = json_get(status, "podIPs");

    if (ip[0] != '\0' && json_count(ips) == 0) {
        struct json *first = json_new_object();
        json_set_str(first, "ip", ip);
        json_append(json_make_array(status, "podIPs"), first);
    } else if (ip[0] == '\0' && json_count(ips) > 0) {
        json_set_str(status, "podIP", json_str_at(json_item(ips, 0), "ip", ""));
    }
}

void admit_pod(struct admission *a)
{
    check_containers(a, "containers");
    check_containers(a, "initContainers");
    if (json_count(json_at(a->object, "spec.containers")) == 0) {
        faults_add(a->faults, FAULT_REQUIRED, "spec.containers", NULL);
    }
    align_addresses(json_get(a->object, "status"));
    if (a->old) {
        check_fixed(a);
    } else if (a->faults->count == 0) {
        struct json *status = json_make_object(a->object, "status");
        json_set_str(status, "phase", "Pending");
        json_set_str(status, "qosClass", "BestEffort");
        check_account(a);
    }
}

/* ---- deployments */

static const char nobody_deploys[] =
    "nothing here makes pods of a Deployment: `ambit run` starts a workload";

static struct json *progress_of(struct json *status)
{
    const struct json *all = json_get(status, "conditions");

    for (size_t i = 0; i < json_count(all); i++) {
        if (strcmp(json_str_at(json_item(all, i), "message", ""), nobody_deploys) == 0) {
            return json_item(all, i);
        }
    }
    return NULL;
}

/* Whoever waits for the rollout is told at once that there will be none. Of a status that somebody
 * else writes nothing is said. */
void admit_deployment(struct admission *a)
{
    struct json *status = json_make_object(a->object, "status");
    int64_t generation = json_int_at(a->old, "metadata.generation", 0);

    if (!a->old) {
        struct json *c = json_new_object();
        char time[TIME_TEXT];
        meta_format_time(a->now_s, time, sizeof(time));
        json_set_str(c, "type", "Progressing");
        json_set_str(c, "status", "False");
        json_set_str(c, "reason", "ProgressDeadlineExceeded");
        json_set_str(c, "message", nobody_deploys);
        json_set_str(c, "lastUpdateTime", time);
        json_set_str(c, "lastTransitionTime", time);
        json_append(json_make_array(status, "conditions"), c);
        a->warning = nobody_deploys;
    }
    if (progress_of(status)) {
        json_set_int(status, "observedGeneration", generation + (admit_is_kept(a) ? 0 : 1));
    }
}

/* ---- secrets */

void admit_secret(struct admission *a)
{
    struct json *plain = json_get(a->object, "stringData");
    struct json *data = plain ? json_make_object(a->object, "data") : NULL;

    for (struct json_iter it = {0}; json_each(plain, &it);) {
        AUTO(strbuf) struct strbuf text = {0};
        const char *value = json_str(it.value, "");
        base64_encode(&text, value, strlen(value));
        json_set_str(data, it.key, strbuf_text(&text));
    }
    (void)json_remove(a->object, "stringData"); /* absent is fine */
}

/* ---- Istio's policies: the rules that their definitions state beside the schema */

enum { TARGETS_MAX = 16 };

static void check_target_refs(struct admission *a)
{
    const struct json *spec = json_get(a->object, "spec");
    int ways = (json_get(spec, "selector") != NULL) + (json_get(spec, "targetRef") != NULL) +
               (json_get(spec, "targetRefs") != NULL);

    if (ways > 1) {
        faults_add(a->faults, FAULT_INVALID, "spec",
                   "only one of targetRefs or selector can be set");
    }
    if (json_count(json_get(spec, "targetRefs")) > TARGETS_MAX) {
        faults_add(a->faults, FAULT_INVALID, "spec.targetRefs", "must have at most 16 items");
    }
}

void admit_authorization_policy(struct admission *a)
{
    const struct json *spec = json_get(a->object, "spec");
    bool custom = strcmp(json_str_at(spec, "action", ""), "CUSTOM") == 0;

    check_target_refs(a);
    if (!custom && json_get(spec, "provider")) {
        faults_add(a->faults, FAULT_INVALID, "spec", "provider is only for action CUSTOM");
    }
}

static void check_jwt_rule(struct admission *a, const struct json *rule, size_t i)
{
    AUTO(strbuf) struct strbuf path = {0};
    bool by_uri = json_get(rule, "jwksUri") || json_get(rule, "jwks_uri");

    if (json_str_at(rule, "issuer", "")[0] == '\0') {
        strbuf_printf(&path, "spec.jwtRules[%zu].issuer", i);
        faults_add(a->faults, FAULT_REQUIRED, strbuf_text(&path), "name who issues the tokens");
    }
    if (by_uri && json_get(rule, "jwks")) {
        strbuf_clear(&path);
        strbuf_printf(&path, "spec.jwtRules[%zu]", i);
        faults_add(a->faults, FAULT_INVALID, strbuf_text(&path),
                   "only one of jwks or jwksUri can be set");
    }
}

void admit_request_authentication(struct admission *a)
{
    const struct json *rules = json_at(a->object, "spec.jwtRules");

    check_target_refs(a);
    for (size_t i = 0; i < json_count(rules); i++) {
        check_jwt_rule(a, json_item(rules, i), i);
    }
}

void admit_peer_authentication(struct admission *a)
{
    const struct json *spec = json_get(a->object, "spec");
    const struct json *ports = json_get(spec, "portLevelMtls");
    uint16_t port = 0;

    if (ports && json_count(json_at(spec, "selector.matchLabels")) == 0) {
        faults_add(a->faults, FAULT_INVALID, "spec", "portLevelMtls requires selector");
    }
    for (struct json_iter it = {0}; json_each(ports, &it);) {
        if (num_parse_port(it.key, strlen(it.key), &port) < 0) {
            faults_add(a->faults, FAULT_INVALID, "spec.portLevelMtls",
                       "port must be between 1-65535");
        }
    }
}

void admit_destination_rule(struct admission *a)
{
    traffic_rule_check(a->faults, json_get(a->object, "spec"));
}

/* ---- Gateway API: what their definitions say of objects that no controller has seen yet */

static void add_waiting(struct json *object, const char *type)
{
    struct json *c = json_new_object();

    json_set_str(c, "lastTransitionTime", "1970-01-01T00:00:00Z");
    json_set_str(c, "message", "Waiting for controller");
    json_set_str(c, "reason", "Pending");
    json_set_str(c, "status", "Unknown");
    json_set_str(c, "type", type);
    json_append(json_make_array(object, "status.conditions"), c);
}

static void check_listeners(struct admission *a)
{
    const struct json *all = json_at(a->object, "spec.listeners");

    for (size_t i = 0; i < json_count(all); i++) {
        const char *name = json_str_at(json_item(all, i), "hostname", NULL);
        const char *problem = name ? hostname_problem(name, true) : NULL;
        if (problem) {
            AUTO(strbuf) struct strbuf path = {0};
            strbuf_printf(&path, "spec.listeners[%zu].hostname", i);
            faults_addf(a->faults, FAULT_INVALID, strbuf_text(&path), "\"%.64s\": %s", name,
                        problem);
        }
    }
}

void admit_gateway(struct admission *a)
{
    if (!admit_is_kept(a)) {
        check_listeners(a);
    }
    if (!a->old) {
        add_waiting(a->object, "Accepted");
        add_waiting(a->object, "Programmed");
    }
}

void admit_gateway_class(struct admission *a)
{
    if (!a->old) {
        add_waiting(a->object, "Accepted");
    }
}
