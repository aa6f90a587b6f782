/* SPDX-License-Identifier: Apache-2.0 */
/* What is said in the status of services, gateways and policies, against what istiod said. */
#include <stdio.h>
#include <string.h>

#include "case_rig.h"
#include "t.h"

/* The newest word about each object: by "kind/ns/name". */
static struct json *collect(struct case_rig *r)
{
    struct json *all = json_new_object();
    struct index_write w;

    while (index_next_write(r->index, &w)) {
        char key[512];
        (void)snprintf(key, sizeof(key), "%s/%s/%s", json_str_at(w.body, "kind", ""),
                       json_str_at(w.body, "metadata.namespace", ""),
                       json_str_at(w.body, "metadata.name", ""));
        if (w.sub) {
            json_set(all, key, w.body);
        } else {
            json_unref(w.body);
        }
    }
    return all;
}

static const struct json *find_type(const struct json *list, const char *type)
{
    for (size_t i = 0; i < json_count(list); i++) {
        if (strcmp(json_str_at(json_item(list, i), "type", ""), type) == 0) {
            return json_item(list, i);
        }
    }
    return NULL;
}

/* Where we refuse what istiod lets pass, we say so after its words. */
static bool same_message(const char *ours, const char *theirs)
{
    size_t n = strlen(theirs);

    return strncmp(ours, theirs, n) == 0 &&
           (ours[n] == '\0' ||
            strncmp(ours + n, "; connections to the service are refused", 40) == 0);
}

static bool same_condition(const struct json *ours, const struct json *theirs)
{
    static const char *const fields[] = {"status", "reason"};

    for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
        if (strcmp(json_str_at(ours, fields[i], ""), json_str_at(theirs, fields[i], "")) != 0) {
            return false;
        }
    }
    return same_message(json_str_at(ours, "message", ""), json_str_at(theirs, "message", ""));
}

static bool compare(const struct json *body, const struct json *want, const char *type)
{
    const struct json *theirs = find_type(json_at(want, "status.conditions"), type);
    const struct json *ours = find_type(json_at(body, "status.conditions"), type);

    if (!theirs || same_condition(ours, theirs)) {
        return true;
    }
    printf("# %s %s/%s: %s: %s %s, not %s %s\n", json_str_at(want, "kind", ""),
           json_str_at(want, "namespace", ""), json_str_at(want, "name", ""), type,
           json_str_at(ours, "reason", "nothing"), json_str_at(ours, "message", ""),
           json_str_at(theirs, "reason", ""), json_str_at(theirs, "message", ""));
    return false;
}

static void cut_fix(struct json *condition)
{
    AUTO(strbuf) struct strbuf text = {0};

    strbuf_puts(&text, json_str_at(condition, "message", ""));
    char *fix = text.p ? strstr(text.p, "; spec.listeners[") : NULL;
    if (fix) {
        *fix = '\0';
        json_set_str(condition, "message", text.p);
    }
}

/* Of a listener that is not as it should be, we also say what to write. */
static struct json *without_fixes(const struct json *status)
{
    struct json *out = json_clone(status);
    const struct json *listeners = json_get(out, "listeners");

    for (size_t i = 0; i < json_count(listeners); i++) {
        const struct json *all = json_get(json_item(listeners, i), "conditions");
        for (size_t k = 0; k < json_count(all); k++) {
            cut_fix(json_item(all, k));
        }
    }
    return out;
}

static bool compare_gateway(const struct json *body, const struct json *want)
{
    const struct json *theirs = json_get(want, "status");
    AUTO(json) struct json *ours = body ? without_fixes(json_get(body, "status")) : NULL;
    bool is_theirs =
        strcmp(json_str_at(find_type(json_get(theirs, "conditions"), "Accepted"), "status", ""),
               "Unknown") == 0;

    if (is_theirs ? !body : json_covers(ours, theirs)) {
        return true;
    }
    AUTO(strbuf) struct strbuf text = {0};
    json_print(ours, JSON_PRINT_SORTED, &text);
    strbuf_puts(&text, "\n#   want ");
    json_print(theirs, JSON_PRINT_SORTED, &text);
    printf("# Gateway %s: %s\n", json_str_at(want, "name", ""), strbuf_text(&text));
    return false;
}

static bool is_skipped(const struct json *want)
{
    /* Their targets are ServiceEntries; a sandwich; another's revision. */
    static const char *const names[] = {"c29/se",    "c29/se-missing", "c29/svc-two-good",
                                        "c74/proxy", "c74/s-proxy",    "c74-b/x"};
    char key[256];

    (void)snprintf(key, sizeof(key), "%s/%s", json_str_at(want, "namespace", ""),
                   json_str_at(want, "name", ""));
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (strcmp(key, names[i]) == 0) {
            return true;
        }
    }
    return false;
}

static bool check_item(const struct json *said, const struct json *want, unsigned *count)
{
    const char *kind = json_str_at(want, "kind", "");
    char key[512];

    (void)snprintf(key, sizeof(key), "%s/%s/%s", kind, json_str_at(want, "namespace", ""),
                   json_str_at(want, "name", ""));
    const struct json *body = json_get(said, key);
    if (is_skipped(want)) {
        return true;
    }
    (*count)++;
    if (strcmp(kind, "Service") == 0) {
        return compare(body, want, "istio.io/WaypointBound");
    }
    if (strcmp(kind, "AuthorizationPolicy") == 0) {
        return compare(body, want, "WaypointAccepted");
    }
    return strcmp(kind, "Gateway") != 0 || compare_gateway(body, want);
}

/* That istiod makes at its start. */
static void put_class(struct case_rig *r, const char *name, const char *controller)
{
    AUTO(json)
    struct json *o = written_object("gateway.networking.k8s.io/v1", "GatewayClass", "", name);

    json_set_str(json_make_object(o, "spec"), "controllerName", controller);
    index_put(r->index, INDEX_CLASS, o);
}

static bool run_case(const char *folder)
{
    struct case_rig r;
    bool good = true;
    unsigned count = 0;

    case_rig_open(&r, folder, "cluster.local");
    put_class(&r, "istio-waypoint", "istio.io/mesh-controller");
    put_class(&r, "istio", "istio.io/gateway-controller");
    while (index_settle(r.index, 1)) {
    }
    AUTO(json) struct json *said = collect(&r);
    AUTO(json) struct json *documents = case_rig_file(folder, "status.yaml");
    const struct json *want = json_item(documents, 0);
    for (size_t i = 0; i < json_count(want); i++) {
        good &= check_item(said, json_item(want, i), &count);
    }
    case_rig_close(&r);
    return good && count > 2;
}

#define CASE(id, folder)                                                                           \
    TEST(id)                                                                                       \
    {                                                                                              \
        CHECK(run_case(folder));                                                                   \
    }

CASE(what_policies_are_told, "29-ap-targetrefs")
CASE(a_plain_waypoint, "51-waypoint-service")
CASE(kinds_of_traffic, "53-waypoint-workload-all")
CASE(other_namespaces, "54-waypoint-cross-namespace")
CASE(who_opts_out, "55-waypoint-none-precedence")
CASE(ingress, "57-ingress-use-waypoint")
CASE(gateways_of_others, "71-waypoint-any-gateway")
CASE(listeners, "74-waypoint-listener-status")

/* A status that is there already is not said again. */
TEST(what_is_said_is_not_said_again)
{
    struct case_rig r;
    struct index_write w;
    unsigned words = 0;

    case_rig_open(&r, "51-waypoint-service", "cluster.local");
    AUTO(json) struct json *said = collect(&r);
    for (struct json_iter it = {0}; json_each(said, &it);) {
        AUTO(json) struct json *object = json_clone(json_get(r.objects, it.key));
        enum index_kind kind;
        if (object && case_rig_kind(json_str_at(object, "kind", ""), &kind)) {
            json_set(object, "status", json_ref(json_get(it.value, "status")));
            index_put(r.index, kind, object);
        }
    }
    while (index_settle(r.index, 1)) {
    }
    while (index_next_write(r.index, &w)) {
        printf("# again: %s %s\n", json_str_at(w.body, "kind", ""),
               json_str_at(w.body, "metadata.name", ""));
        words += w.sub != NULL;
        json_unref(w.body);
    }
    CHECK_INT(words, 0);
    case_rig_close(&r);
}

/* A DestinationRule for the service s with that many connections, and the status it had; settled.
 * What is said of it; NULL: nothing. */
static struct json *put_rule(struct case_rig *r, int64_t connections, const struct json *status)
{
    AUTO(json)
    struct json *rule = written_object("networking.istio.io/v1", "DestinationRule", "c51", "d");

    json_set_int(json_make_object(rule, "metadata"), "generation", 3);
    json_set_str(json_make_object(rule, "spec"), "host", "s");
    json_set_int(json_make_object(rule, "spec.trafficPolicy.connectionPool.tcp"), "maxConnections",
                 connections);
    if (status) {
        json_set(rule, "status", json_ref((struct json *)(uintptr_t)status));
    }
    index_put(r->index, INDEX_RULE, rule);
    while (index_settle(r->index, 1)) {
    }
    AUTO(json) struct json *said = collect(r);
    return json_clone(json_get(said, "DestinationRule/c51/d"));
}

static bool says(const struct json *body, const char *status, const char *reason, const char *text)
{
    const struct json *c = find_type(json_at(body, "status.conditions"), "WaypointAccepted");

    return strcmp(json_str_at(c, "status", ""), status) == 0 &&
           strcmp(json_str_at(c, "reason", ""), reason) == 0 &&
           strstr(json_str_at(c, "message", "-"), text) != NULL;
}

TEST(a_rule_with_a_value_that_means_nothing_is_refused_and_told_which)
{
    struct case_rig r;

    case_rig_open(&r, "51-waypoint-service", "cluster.local");
    const struct catalog *traffic = r.catalogs[ADS_L7_TRAFFIC];
    CHECK(put_rule(&r, 7, NULL) == NULL); /* good: nothing is said */
    CHECK_INT(catalog_count(traffic), 1);
    AUTO(json) struct json *bad = put_rule(&r, -1, NULL);
    CHECK(says(bad, "False", "Invalid", "spec.trafficPolicy.connectionPool.tcp.maxConnections: "));
    CHECK(says(bad, "False", "Invalid", "-1: must be a number between 0 and 2147483647"));
    CHECK_INT(catalog_count(traffic), 0);
    const struct json *status = json_get(bad, "status");
    CHECK(put_rule(&r, -1, status) == NULL); /* it is there already */
    AUTO(json) struct json *good = put_rule(&r, 8, status);
    CHECK(says(good, "True", "Accepted", ""));
    CHECK_INT(catalog_count(traffic), 1);
    CHECK(put_rule(&r, 8, json_get(good, "status")) == NULL);
    AUTO(json) struct json *huge = put_rule(&r, (int64_t)1 << 40, NULL);
    CHECK(says(huge, "False", "Invalid", "maxConnections"));
    CHECK_INT(catalog_count(traffic), 0);
    case_rig_close(&r);
}
