/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/status_facts.h"

#include <string.h>

#include "cli/span.h"
#include "cli/view.h"
#include "cli/waypoint_effect.h"
#include "cli/waypoint_object.h"
#include "codec/json.h"

/* ---- programs */

static void judge_proxy(const struct node_facts *n, struct findings *f)
{
    if (n->proxy_error) {
        struct finding *x =
            findings_add(f, FINDING_A101, "the node proxy of %s does not answer", n->name);
        finding_evidence(x, "%s", n->proxy_error);
        finding_fix(x, "ambit up");
    } else if (!n->is_ready) {
        struct finding *x =
            findings_add(f, FINDING_A102, "the node proxy of %s is not ready", n->name);
        finding_evidence(x, "%s", n->ready ? n->ready : "its readiness endpoint does not answer");
    }
}

static void judge_control(const struct node_facts *n, struct findings *f)
{
    const struct json *control = json_get(n->dump, "controlPlane");

    if (!control || json_bool_at(control, "connected", false)) {
        return; /* a proxy of another make does not say */
    }
    struct finding *x = findings_add(
        f, FINDING_A103, "%s is not connected to its control plane; it goes on with what it knows",
        n->name);
    const char *address = json_str_at(n->dump, "config.xdsAddress", "");
    finding_evidence(x, "%s: %s", address, json_str_at(control, "error", "no connection"));
    if (strstr(address, "://127.") || strstr(address, "://[::1]")) {
        finding_fix(x, "ambit up"); /* it belongs to this machine */
    }
}

static void judge_agent(const struct node_facts *n, struct findings *f)
{
    if (n->agent_error) {
        struct finding *x =
            findings_add(f, FINDING_A104, "the node agent of %s %s", n->name,
                         n->agent_is_roots ? "answers root alone" : "does not answer");
        finding_evidence(x, "%s", n->agent_error);
        finding_fix(x, n->agent_is_roots ? "sudo ambit status" : "ambit up");
    } else if (n->agent && !json_bool_at(n->agent, "ready", false)) {
        struct finding *x =
            findings_add(f, FINDING_A105, "the node agent of %s is not ready", n->name);
        finding_evidence(x, "%lld node proxies are connected to it",
                         (long long)json_int_at(n->agent, "proxies", 0));
    }
}

static void judge_room(const struct node_facts *n, struct findings *f)
{
    long long away = (long long)json_int_at(n->agent, "turned_away", 0);

    if (away > 0) {
        struct finding *x =
            findings_add(f, FINDING_A206, "%lld of the pods of %s %s kept out of the mesh", away,
                         n->name, away == 1 ? "is" : "are");
        finding_evidence(x, "there are more than the %lld that its agent takes",
                         (long long)json_int_at(n->agent, "pods_max", 0));
        finding_fix(x, "kubectl cordon %s", n->name);
    }
}

/* ---- workloads */

static void judge_workloads(const struct node_facts *n, struct findings *f,
                            struct status_counts *counts)
{
    struct finding *x = NULL;
    struct json_iter it = {0};
    unsigned pending = 0;

    while (json_each(json_get(n->dump, "workloadState"), &it)) {
        if (strcmp(json_str_at(it.value, "state", ""), "Up") == 0) {
            counts->workloads++;
            continue;
        }
        pending++;
        if (!x) {
            x = findings_add(f, FINDING_A201, "workloads of %s are pending", n->name);
            finding_fix(x, "ambit workloads --node %s", n->name);
        }
        finding_evidence(x, "%s/%s", json_str_at(it.value, "info.namespace", ""),
                         json_str_at(it.value, "info.name", ""));
    }
    counts->pending += pending;
}

static void judge_local(const struct node_facts *n, struct findings *f)
{
    for (size_t i = 0; i < json_count(n->local); i++) {
        const struct json *w = json_item(n->local, i);
        const char *trouble = json_str_at(w, "trouble", "");
        const char *state = json_str_at(w, "state", "unknown");
        const char *ns = json_str_at(w, "namespace", "");
        const char *name = json_str_at(w, "name", "");
        if (strcmp(state, "waiting") == 0) {
            struct finding *x = findings_add(f, FINDING_A203, "%s/%s keeps ending; %lld restarts",
                                             ns, name, (long long)json_int_at(w, "restarts", 0));
            finding_evidence(x, "%s", trouble);
            finding_fix(x, "tail -n 20 %s", json_str_at(w, "log", ""));
        } else if (*trouble) {
            struct finding *x =
                findings_add(f, FINDING_A202, "%s/%s has trouble (state %s, mesh %s)", ns, name,
                             state, json_str_at(w, "mesh", "unknown"));
            finding_evidence(x, "%s", trouble);
        }
    }
}

/* ---- what the agent had to put back */

enum { REPAIRS_SHOWN_S = 24 * 3600 };

/* False: that is long ago. */
static bool say_times(const struct json *repairs, int64_t now_s, struct strbuf *out)
{
    int64_t times = json_int_at(repairs, "times", 0);
    int64_t ago_s = now_s - json_int_at(repairs, "last_s", 0);

    strbuf_printf(out, "%lld time%s, last ", (long long)times, times == 1 ? "" : "s");
    span_print(ago_s < 0 ? 0 : ago_s, out);
    strbuf_puts(out, " ago");
    return ago_s < REPAIRS_SHOWN_S;
}

static void judge_repairs(const struct node_facts *n, int64_t now_s, struct findings *f)
{
    const struct json *pods = json_get(n->agent, "repaired");
    const struct json *host = json_get(n->agent, "host_repaired");

    for (size_t i = 0; i < json_count(pods); i++) {
        const char *ns = json_str_at(json_item(pods, i), "namespace", "");
        const char *name = json_str_at(json_item(pods, i), "name", "");
        AUTO(strbuf) struct strbuf times = {0};
        if (say_times(json_item(pods, i), now_s, &times)) {
            struct finding *x =
                findings_add(f, FINDING_A204,
                             "the capture rules of %s/%s were changed; they are back", ns, name);
            finding_evidence(x, "on %s, %s", n->name, strbuf_text(&times));
            finding_fix(x, "ambit get pod %s -n %s -o yaml", name, ns);
        }
    }
    AUTO(strbuf) struct strbuf times = {0};
    if (host && say_times(host, now_s, &times)) {
        struct finding *x = findings_add(
            f, FINDING_A205, "the rules for health probes of %s were taken away; they are back",
            n->name);
        finding_evidence(x, "%s", strbuf_text(&times));
        finding_fix(x, "grep -rsl 'flush ruleset' /etc");
    }
}

/* ---- policies */

static void judge_policies(const struct node_facts *n, struct findings *f)
{
    AUTO(json) struct json *rows = json_new_array();

    view_policies(n->dump, rows);
    for (size_t i = 0; i < json_count(rows); i++) {
        const struct json *p = json_item(rows, i);
        if (strcmp(json_str_at(p, "state", ""), "ok") != 0) {
            struct finding *x =
                findings_add(f, FINDING_A301, "policy %s/%s is broken on %s: its workloads deny",
                             json_str_at(p, "namespace", ""), json_str_at(p, "name", ""), n->name);
            finding_fix(x, "ambit get authorizationpolicy %s -n %s -o yaml",
                        json_str_at(p, "name", ""), json_str_at(p, "namespace", ""));
        }
    }
}

/* "namespace/name" of every policy the node has. */
static struct json *policy_names(const struct json *dump)
{
    const struct json *all = json_get(dump, "policies");
    struct json *names = json_new_object();
    AUTO(strbuf) struct strbuf key = {0};

    for (size_t i = 0; i < json_count(all); i++) {
        strbuf_clear(&key);
        strbuf_printf(&key, "%s/%s", json_str_at(json_item(all, i), "namespace", ""),
                      json_str_at(json_item(all, i), "name", ""));
        json_set_bool(names, strbuf_text(&key), true);
    }
    return names;
}

static void judge_names(const struct node_facts *n, struct findings *f)
{
    AUTO(json) struct json *known = policy_names(n->dump);
    AUTO(json) struct json *missing = json_new_object();
    const struct json *workloads = json_get(n->dump, "workloads");

    for (size_t i = 0; i < json_count(workloads); i++) {
        const struct json *named = json_get(json_item(workloads, i), "authorizationPolicies");
        for (size_t k = 0; k < json_count(named); k++) {
            const char *name = json_str(json_item(named, k), "");
            if (!json_get(known, name)) {
                json_set_str(missing, name, json_str_at(json_item(workloads, i), "name", ""));
            }
        }
    }
    struct json_iter it = {0};
    while (json_each(missing, &it)) {
        struct finding *x =
            findings_add(f, FINDING_A302, "policy %s is not known to %s", it.key, n->name);
        finding_evidence(x, "workload %s names it and denies until it comes",
                         json_str(it.value, ""));
    }
}

/* ---- certificates */

static void judge_cert(const struct json *row, struct findings *f)
{
    const char *verdict = json_str_at(row, "verdict", "");
    const char *identity = json_str_at(row, "identity", "");
    bool root = strcmp(json_str_at(row, "kind", ""), "root") == 0;
    AUTO(strbuf) struct strbuf left = {0};

    span_print(json_int_at(row, "left_s", 0), &left);
    if (strcmp(verdict, "near its end") == 0) {
        struct finding *x = findings_add(
            f, root ? FINDING_A403 : FINDING_A402, "%s of %s ends in %s",
            root ? "a root certificate" : "the certificate", identity, strbuf_text(&left));
        finding_evidence(x, "on node %s, valid until %s", json_str_at(row, "node", ""),
                         json_str_at(row, "not_after", ""));
        finding_fix(x, "ambit certs");
    } else if (strcmp(verdict, "valid") != 0) {
        struct finding *x = findings_add(
            f, FINDING_A401, "the %s certificate of %s %s", json_str_at(row, "kind", ""), identity,
            strcmp(verdict, "expired") == 0 ? "has expired" : "is missing");
        finding_evidence(x, "on node %s: %s", json_str_at(row, "node", ""),
                         json_str_at(row, "state", ""));
        finding_fix(x, "ambit certs");
    }
}

/* One that is being fetched for the first time is no problem: its connections wait. */
static bool is_being_fetched(const struct json *row)
{
    return strcmp(json_str_at(row, "verdict", ""), "missing") == 0 &&
           strncmp(json_str_at(row, "state", ""), "Initializing", 12) == 0;
}

static void judge_certs(const struct node_facts *n, int64_t now_s, struct findings *f)
{
    AUTO(json) struct json *rows = json_new_array();

    view_certs(n->dump, n->name, now_s, rows);
    for (size_t i = 0; i < json_count(rows); i++) {
        if (!is_being_fetched(json_item(rows, i))) {
            judge_cert(json_item(rows, i), f);
        }
    }
}

/* ---- connections */

/* "namespace/name" of what the nodes have captured. */
static struct json *captured_by(const struct node_facts *nodes, unsigned count)
{
    struct json *names = json_new_object();
    AUTO(strbuf) struct strbuf key = {0};

    for (unsigned i = 0; i < count; i++) {
        struct json_iter it = {0};
        while (json_each(json_get(nodes[i].dump, "workloadState"), &it)) {
            strbuf_clear(&key);
            strbuf_printf(&key, "%s/%s", json_str_at(it.value, "info.namespace", ""),
                          json_str_at(it.value, "info.name", ""));
            json_set_bool(names, strbuf_text(&key), true);
        }
    }
    return names;
}

static bool is_counted_at_its_source(const struct json *row, const struct json *captured)
{
    return strcmp(json_str_at(row, "direction", ""), "inbound") == 0 &&
           json_get(captured, json_str_at(row, "source", "")) != NULL;
}

static void judge_open(const struct node_facts *n, const struct json *captured, struct json *plain,
                       struct status_counts *counts)
{
    AUTO(json) struct json *rows = json_new_array();

    view_access(n->open, n->name, rows);
    for (size_t i = 0; i < json_count(rows); i++) {
        const struct json *row = json_item(rows, i);
        if (strcmp(json_str_at(row, "secured", ""), "mTLS") == 0) {
            counts->mtls += !is_counted_at_its_source(row, captured);
        } else {
            json_append(plain, json_ref(row));
        }
    }
    for (size_t i = 0; i < json_count(n->kept); i++) {
        json_append(plain, json_ref(json_item(n->kept, i)));
    }
}

static void judge_connections(const struct node_facts *n, const struct json *captured,
                              struct findings *f, struct status_counts *counts)
{
    AUTO(json) struct json *plain = json_new_array();

    judge_open(n, captured, plain, counts);
    counts->plain += (unsigned)json_count(plain);
    if (json_count(plain) == 0) {
        return;
    }
    struct finding *x = findings_add(f, FINDING_A501, "%zu connection%s of %s in plaintext",
                                     json_count(plain), span_plural(json_count(plain)), n->name);
    finding_fix(x, "ambit conns --plain --node %s", n->name);
    for (size_t i = 0; i < json_count(plain); i++) {
        const struct json *row = json_item(plain, i);
        const char *note = json_str_at(row, "note", "");
        AUTO(strbuf) struct strbuf parties = {0};
        view_put_parties(row, &parties);
        finding_evidence(x, "%s, %s%s%s", strbuf_text(&parties), json_str_at(row, "direction", ""),
                         *note ? ", " : "", note);
    }
}

static void judge_node(const struct node_facts *n, const struct json *captured, int64_t now_s,
                       struct findings *f, struct status_counts *counts)
{
    counts->nodes++;
    counts->nodes_answering += n->proxy_error == NULL;
    judge_proxy(n, f);
    judge_agent(n, f);
    judge_room(n, f);
    judge_local(n, f);
    judge_repairs(n, now_s, f);
    judge_connections(n, captured, f, counts);
    if (!n->dump) {
        return;
    }
    judge_control(n, f);
    judge_workloads(n, f, counts);
    judge_policies(n, f);
    judge_names(n, f);
    judge_certs(n, now_s, f);
}

void status_of_nodes(const struct node_facts *nodes, unsigned count, int64_t now_s,
                     struct findings *f, struct status_counts *counts)
{
    AUTO(json) struct json *captured = captured_by(nodes, count);

    for (unsigned i = 0; i < count; i++) {
        judge_node(&nodes[i], captured, now_s, f, counts);
    }
}

/* ---- the API's objects */

static void say_condition(const struct json *object, const char *kind, const struct json *condition,
                          enum finding_code code, struct findings *f)
{
    const char *ns = json_str_at(object, "metadata.namespace", "");
    const char *name = json_str_at(object, "metadata.name", "");
    bool policy = strcmp(kind, "authorizationpolicy") == 0;
    struct finding *x =
        findings_add(f, code, "%s %s/%s: %s is %s (%s)", policy ? "policy" : kind, ns, name,
                     json_str_at(condition, "type", ""), json_str_at(condition, "status", ""),
                     json_str_at(condition, "reason", ""));
    const char *message = json_str_at(condition, "message", "");

    if (*message) {
        finding_evidence(x, "%s", message);
    }
    finding_fix(x, "ambit get %s %s -n %s -o yaml", kind, name, ns);
}

/* Accepted in part is True, and its reason says so. */
static bool is_bad(const struct json *condition)
{
    const char *reason = json_str_at(condition, "reason", "");

    return strcmp(json_str_at(condition, "status", ""), "False") == 0 ||
           strcmp(reason, "PartiallyInvalid") == 0 || strcmp(reason, "UnsupportedValue") == 0;
}

void status_of_policies(const struct json *items, const char *kind, struct findings *f)
{
    for (size_t i = 0; i < json_count(items); i++) {
        const struct json *conditions = json_at(json_item(items, i), "status.conditions");
        for (size_t k = 0; k < json_count(conditions); k++) {
            const struct json *c = json_item(conditions, k);
            if (is_bad(c)) {
                say_condition(json_item(items, i), kind, c, FINDING_A303, f);
            }
        }
    }
}

/* A parent without a waypoint is none: there the route waits, as it may. */
static void judge_parent(const struct json *route, const char *kind, const struct json *parent,
                         struct findings *f)
{
    const struct json *conditions = json_get(parent, "conditions");

    for (size_t k = 0; k < json_count(conditions); k++) {
        const struct json *c = json_item(conditions, k);
        if (is_bad(c) && strcmp(json_str_at(c, "type", ""), "ResolvedWaypoints") != 0) {
            say_condition(route, kind, c, FINDING_A304, f);
        }
    }
}

void status_of_routes(const struct json *items, const char *kind, struct findings *f)
{
    for (size_t i = 0; i < json_count(items); i++) {
        const struct json *parents = json_at(json_item(items, i), "status.parents");
        for (size_t k = 0; k < json_count(parents); k++) {
            judge_parent(json_item(items, i), kind, json_item(parents, k), f);
        }
    }
}

static bool has_waypoint(const struct json *rows, const char *ns, const char *name)
{
    for (size_t i = 0; i < json_count(rows); i++) {
        const struct json *row = json_item(rows, i);
        if (strcmp(json_str_at(row, "namespace", ""), ns) == 0 &&
            strcmp(json_str_at(row, "name", ""), name) == 0) {
            return true;
        }
    }
    return false;
}

/* Namespaces have none of their own around them: they look in themselves. */
static void judge_user(const struct json *rows, const struct json *user, struct findings *f)
{
    const char *own = json_str_at(user, "metadata.name", "");
    const char *around = json_str_at(user, "metadata.namespace", "");
    const char *ns = "";
    const char *name =
        waypoint_effect_named(json_at(user, "metadata.labels"), *around ? around : own, &ns);

    if (!name || has_waypoint(rows, ns, name)) {
        return;
    }
    struct finding *x =
        findings_add(f, FINDING_A602, "%s %s%s%s names waypoint %s/%s, which does not exist",
                     *around ? "service" : "namespace", around, *around ? "/" : "", own, ns, name);
    finding_fix(x, "ambit waypoint apply -n %s --name %s --wait", ns, name);
}

void status_of_waypoints(const struct json *rows, const struct json *users, struct findings *f)
{
    for (size_t i = 0; i < json_count(rows); i++) {
        const struct json *row = json_item(rows, i);
        const char *ns = json_str_at(row, "namespace", "");
        const char *name = json_str_at(row, "name", "");
        if (waypoint_row_is_ready(row)) {
            continue;
        }
        struct finding *x =
            findings_add(f, FINDING_A601, "waypoint %s/%s: %s of its replicas ready", ns, name,
                         json_str_at(row, "replicas", ""));
        bool programmed = strcmp(json_str_at(row, "programmed", ""), "True") == 0;
        finding_evidence(x, "%s",
                         programmed ? "no replica serves" : json_str_at(row, "message", ""));
        finding_fix(x, "ambit waypoint status %s -n %s", name, ns);
    }
    for (size_t i = 0; i < json_count(users); i++) {
        judge_user(rows, json_item(users, i), f);
    }
}

/* ---- the sentence */

static void say_connections(const struct status_counts *c, struct strbuf *out)
{
    unsigned all = c->mtls + c->plain;

    if (c->plain > 0) {
        strbuf_printf(out, "; %u of %u open connections in PLAINTEXT", c->plain, all);
    } else if (all == 0) {
        strbuf_puts(out, "; no open connection");
    } else {
        strbuf_printf(out, "; %u open connection%s, %s", all, span_plural(all),
                      all == 1 ? "mutual TLS" : "all mutual TLS");
    }
}

void status_sentence(const struct status_counts *c, struct strbuf *out)
{
    if (c->nodes_answering == 0) {
        strbuf_printf(out, "no node proxy answers (%u asked)", c->nodes);
        return;
    }
    strbuf_printf(out, "%u workload%s captured on %u node%s", c->workloads,
                  span_plural(c->workloads), c->nodes_answering, span_plural(c->nodes_answering));
    if (c->pending > 0) {
        strbuf_printf(out, ", %u pending", c->pending);
    }
    say_connections(c, out);
    if (c->nodes_answering < c->nodes) {
        strbuf_printf(out, "; %u of %u nodes do not answer", c->nodes - c->nodes_answering,
                      c->nodes);
    }
}

struct json *status_counts_to_json(const struct status_counts *c)
{
    struct json *j = json_new_object();

    json_set_int(j, "nodes", c->nodes);
    json_set_int(j, "nodes_answering", c->nodes_answering);
    json_set_int(j, "workloads", c->workloads);
    json_set_int(j, "pending", c->pending);
    json_set_int(j, "connections_mtls", c->mtls);
    json_set_int(j, "connections_plaintext", c->plain);
    return j;
}
