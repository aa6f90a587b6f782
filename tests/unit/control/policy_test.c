/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What policies mean once they are translated: asked of the function that decides in the proxy. And
 * what is said about them, against the recordings.
 */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "case_rig.h"
#include "codec/yaml.h"
#include "control/peer_facts.h"
#include "control/translate_policy.h"
#include "model/rbac.h"
#include "t.h"

static const struct mesh mesh = {.cluster_id = "Kubernetes",
                                 .trust_domain = "cluster.local",
                                 .root_ns = "istio-system",
                                 .system_ns = "istio-system",
                                 .domain = "cluster.local",
                                 .revision = ""};

/* ---- AuthorizationPolicy */

struct caller {
    const char *ip;
    uint16_t port; /* that it goes to */
    const char *ns;
    const char *account; /* NULL: in the clear */
};

static bool matches(struct test *t, const char *spec, const struct caller *c)
{
    AUTO(arena) struct arena a = {0};
    AUTO(json) struct json *documents = NULL;
    AUTO(json) struct json *object = json_new_object();
    AUTO(identity)
    const struct identity *peer =
        c->account ? identity_new("cluster.local", c->ns, c->account) : NULL;
    struct policy_condition condition;
    struct rbac_conn conn = {.peer = peer, .dst = {.port = c->port}};
    struct policy p;

    if (yaml_parse_all(&documents, spec, strlen(spec), NULL) < 0 ||
        ip_parse(&conn.src.ip, c->ip, strlen(c->ip)) < 0 ||
        ip_parse(&conn.dst.ip, "10.0.0.1", 8) < 0) {
        test_fail(t, __FILE__, __LINE__, spec);
        return false;
    }
    json_set_str(json_make_object(object, "metadata"), "namespace", "shop");
    json_set_str(json_at(object, "metadata"), "name", "p");
    json_set(object, "spec", json_ref(json_item(documents, 0)));
    return translate_policy(&p, &condition, object, &mesh, &a) && rbac_policy_matches(&p, &conn);
}

TEST(what_cannot_be_expressed_at_layer_four_fails_closed)
{
    static const struct {
        const char *what;
        const char *spec;
        struct caller caller;
        bool matches;
    } table[] = {
        {"an HTTP condition of a DENY is taken to be met",
         "{action: DENY, rules: [{to: [{operation: {methods: [GET]}}]}]}",
         {"10.1.0.1", 80, "a", "b"},
         true},
        {"but not against those it is not for",
         "{action: DENY, rules: [{from: [{source: {namespaces: [bad]}}], to: [{operation: {paths: "
         "[/x]}}]}]}",
         {"10.1.0.1", 80, "good", "b"},
         false},
        {"and for those it is for",
         "{action: DENY, rules: [{from: [{source: {namespaces: [bad]}}], to: [{operation: {paths: "
         "[/x]}}]}]}",
         {"10.1.0.1", 80, "bad", "b"},
         true},
        {"one way of a DENY that cannot be seen is as if it were there",
         "{action: DENY, rules: [{to: [{operation: {paths: [/x]}}, {operation: {ports: "
         "['80']}}]}]}",
         {"10.1.0.1", 81, "a", "b"},
         true},
        {"what stands beside it in the same way still holds",
         "{action: DENY, rules: [{to: [{operation: {paths: [/x], ports: ['80']}}]}]}",
         {"10.1.0.1", 81, "a", "b"},
         false},
        {"an HTTP condition of an ALLOW allows nothing",
         "{action: ALLOW, rules: [{to: [{operation: {methods: [GET]}}]}]}",
         {"10.1.0.1", 80, "a", "b"},
         false},
        {"the other rules of that ALLOW still allow",
         "{action: ALLOW, rules: [{to: [{operation: {methods: [GET]}}]}, {to: [{operation: {ports: "
         "['80']}}]}]}",
         {"10.1.0.1", 80, "a", "b"},
         true},
        {"trust domains are not ignored in an ALLOW",
         "{action: ALLOW, rules: [{from: [{source: {namespaces: [a], trustDomains: [td]}}]}]}",
         {"10.1.0.1", 80, "a", "b"},
         false},
        {"nor in a DENY",
         "{action: DENY, rules: [{from: [{source: {trustDomains: [td]}}]}]}",
         {"10.1.0.1", 80, "a", "b"},
         true},
        {"an ALLOW with a demand that cannot be read does not do without it",
         "{action: ALLOW, rules: [{from: [{source: {namespaces: [a], ipBlocks: [nonsense]}}]}]}",
         {"10.1.0.1", 80, "a", "b"},
         false},
        {"nor without an exclusion",
         "{action: ALLOW, rules: [{from: [{source: {namespaces: [a], notIpBlocks: [nonsense, "
         "10.9.0.0/16]}}]}]}",
         {"10.1.0.1", 80, "a", "b"},
         false},
        {"values that can be read beside one that cannot still count",
         "{action: ALLOW, rules: [{from: [{source: {ipBlocks: [nonsense, 10.1.0.0/16]}}]}]}",
         {"10.1.0.1", 80, "a", "b"},
         true},
        {"a DENY with a demand that cannot be read denies without it",
         "{action: DENY, rules: [{from: [{source: {namespaces: [a], ipBlocks: [nonsense]}}]}]}",
         {"10.1.0.1", 80, "a", "b"},
         true},
        {"a DENY with nothing that can be read denies all",
         "{action: DENY, rules: [{to: [{operation: {ports: [http]}}]}]}",
         {"10.1.0.1", 80, NULL, NULL},
         true},
        {"a mapped address is the IPv4 address",
         "{action: DENY, rules: [{from: [{source: {ipBlocks: ['::ffff:10.1.0.1']}}]}]}",
         {"10.1.0.1", 80, "a", "b"},
         true},
        {"an empty rule matches everything",
         "{action: DENY, rules: [{}]}",
         {"10.1.0.1", 80, NULL, NULL},
         true},
        {"no rule matches nothing",
         "{action: ALLOW, rules: []}",
         {"10.1.0.1", 80, "a", "b"},
         false},
        {"an unknown condition of a DENY is taken to be met",
         "{action: DENY, rules: [{when: [{key: experimental.x, values: [y]}]}]}",
         {"10.1.0.1", 80, "a", "b"},
         true},
    };

    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        if (matches(t, table[i].spec, &table[i].caller) != table[i].matches) {
            test_fail(t, __FILE__, __LINE__, table[i].what);
        }
    }
}

/* ---- PeerAuthentication: every combination of modes, and plaintext to a port */

static const char *const modes[] = {NULL, "UNSET", "DISABLE", "PERMISSIVE", "STRICT"};
enum { MODES = 5, PORTS = 2, PORT_A = 8080, PORT_B = 9090, PORT_OTHER = 80 };

static void read_peer(struct peer_facts *out, const char *ns, const char *mode, bool selects,
                      const char *const ports[PORTS], struct intern *pool)
{
    AUTO(json) struct json *o = json_new_object();
    static const char *const numbers[PORTS] = {"8080", "9090"};

    json_set_str(json_make_object(o, "metadata"), "namespace", ns);
    json_set_str(json_at(o, "metadata"), "name", "p");
    json_set_str(json_make_object(o, "spec.mtls"), "mode", mode ? mode : "UNSET");
    if (selects) {
        json_set_str(json_make_object(o, "spec.selector.matchLabels"), "app", "a");
    }
    for (unsigned i = 0; i < PORTS && ports; i++) {
        if (ports[i]) {
            struct json *port = json_new_object();
            json_set_str(port, "mode", ports[i]);
            json_set(json_make_object(o, "spec.portLevelMtls"), numbers[i], port);
        }
    }
    peer_facts_read(out, o, &mesh, pool);
}

static bool denies(const struct peer_facts *own, enum peer_mode inherited, uint16_t port)
{
    AUTO(arena) struct arena a = {0};
    struct rbac_conn plain = {.dst = {.port = port}};
    struct policy p;

    switch (peer_binding_of(own, inherited)) {
    case PEER_BIND_NOTHING:
        return false;
    case PEER_BIND_STATIC:
        peer_static_policy(&p, &mesh);
        return rbac_policy_matches(&p, &plain);
    case PEER_BIND_CONVERTED: /* named but not there would hold and then deny: a fault of ours */
        return peer_convert(&p, own, inherited, &a) ? rbac_policy_matches(&p, &plain) : false;
    }
    return false;
}

/* What the modes say, level by level. One reading is stricter: DISABLE alone under an inherited STRICT
 * opens nothing. */
static bool is_strict(const char *port, const char *own, enum peer_mode inherited,
                      const char *const ports[PORTS])
{
    const char *mode = port && strcmp(port, "UNSET") != 0 ? port : own;

    if (mode && strcmp(mode, "UNSET") != 0) {
        bool own_unset = !own || strcmp(own, "UNSET") == 0;
        bool any_permissive = false;
        for (unsigned i = 0; i < PORTS; i++) {
            any_permissive |= ports[i] && strcmp(ports[i], "PERMISSIVE") == 0;
        }
        if (own_unset && inherited == PEER_STRICT && !any_permissive) {
            return true;
        }
        return strcmp(mode, "STRICT") == 0;
    }
    return inherited == PEER_STRICT;
}

struct combination {
    const char *of_mesh;
    const char *of_ns;
    const char *own;
    const char *ports[PORTS];
};

static bool check_combination(const struct combination *c, struct intern *pool)
{
    struct peer_facts m;
    struct peer_facts n;
    struct peer_facts own;
    const uint16_t numbers[] = {PORT_A, PORT_B, PORT_OTHER};
    bool good = true;

    read_peer(&m, "istio-system", c->of_mesh, false, NULL, pool);
    read_peer(&n, "shop", c->of_ns, false, NULL, pool);
    read_peer(&own, "shop", c->own, true, c->ports, pool);
    enum peer_mode inherited = peer_inherited(c->of_mesh ? &m : NULL, c->of_ns ? &n : NULL);
    for (unsigned i = 0; i < ARRAY_LEN(numbers); i++) {
        const char *port = i < PORTS ? c->ports[i] : NULL;
        good &= denies(c->own ? &own : NULL, inherited, numbers[i]) ==
                is_strict(c->own ? port : NULL, c->own, inherited, c->ports);
    }
    peer_facts_fini(&m);
    peer_facts_fini(&n);
    peer_facts_fini(&own);
    if (!good) {
        printf("# mesh %s, namespace %s, own %s, ports %s %s\n", c->of_mesh, c->of_ns, c->own,
               c->ports[0], c->ports[1]);
    }
    return good;
}

TEST(plaintext_is_denied_exactly_where_a_port_is_strict)
{
    AUTO(intern) struct intern *pool = intern_new();
    bool good = true;

    for (unsigned i = 0; i < MODES * MODES * MODES * MODES * MODES; i++) {
        struct combination c = {modes[i % MODES],
                                modes[i / MODES % MODES],
                                modes[i / (MODES * MODES) % MODES],
                                {modes[i / (MODES * MODES * MODES) % MODES],
                                 modes[i / (MODES * MODES * MODES * MODES)]}};
        if (!c.own) {
            c.ports[0] = NULL; /* who has no policy of its own has no ports in it */
            c.ports[1] = NULL;
        }
        good &= check_combination(&c, pool);
    }
    CHECK(good);
}

/* ---- conditions */

static const struct json *recorded(const struct json *all, const struct index_status *s)
{
    for (size_t i = 0; i < json_count(all); i++) {
        const struct json *one = json_item(all, i);
        const struct json *conditions = json_array_at(one, "status.conditions");
        if (strcmp(json_str_at(one, "name", ""), s->name) != 0 ||
            strcmp(json_str_at(one, "namespace", ""), s->ns) != 0) {
            continue;
        }
        for (size_t k = 0; k < json_count(conditions); k++) {
            if (strcmp(json_str_at(json_item(conditions, k), "type", ""), "ZtunnelAccepted") == 0) {
                return json_item(conditions, k);
            }
        }
    }
    return NULL;
}

/* Recorded as "no effect", because nothing of it is left there; here it denies more than was asked. */
static bool is_closed_here(const struct json *want)
{
    return strstr(json_str_at(want, "message", ""), "will have no effect") != NULL;
}

/* Recorded as accepted, though some of its values mean nothing. */
static bool has_bad_values(const struct index_status *s)
{
    static const char *const names[] = {"g-odd-ports", "h-odd-ips", "i-only-odd"};

    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (strcmp(s->name, names[i]) == 0) {
            return true;
        }
    }
    return false;
}

static bool is_as_recorded(const struct json *want, const struct index_status *s)
{
    bool same = strcmp(json_str_at(want, "status", ""), s->status ? "True" : "False") == 0 &&
                strcmp(json_str_at(want, "reason", ""), s->reason) == 0 &&
                strcmp(json_str_at(want, "message", ""), s->message) == 0;

    if (is_closed_here(want)) {
        return !same && strstr(s->message, "more restrictive than requested");
    }
    if (has_bad_values(s)) {
        return !same && strstr(s->message, "cannot be read");
    }
    return same;
}

static unsigned check_conditions(const char *folder)
{
    AUTO(json) struct json *all = case_rig_file(folder, "status.yaml");
    struct case_rig r;
    struct index_status s;
    unsigned wrong = 0;
    unsigned count = 0;

    case_rig_open(&r, folder, "cluster.local");
    while (index_next_status(r.index, &s)) {
        const struct json *want = recorded(json_item(all, 0), &s);
        count++;
        if (!want || !is_as_recorded(want, &s)) {
            printf("# %s/%s: %s %s\n", s.ns, s.name, s.reason, s.message);
            wrong++;
        }
    }
    case_rig_close(&r);
    return count == 0 ? 1 : wrong;
}

TEST(policies_are_told_what_the_recordings_tell_them)
{
    CHECK_INT(check_conditions("21-ap-l4-fields"), 0);
    CHECK_INT(check_conditions("22-ap-selector-and-root"), 0);
    CHECK_INT(check_conditions("23-ap-l7-allow"), 0);
    CHECK_INT(check_conditions("25-ap-l7-deny"), 0);
    CHECK_INT(check_conditions("26-ap-actions"), 0);
    CHECK_INT(check_conditions("27-ap-empty"), 0);
    CHECK_INT(check_conditions("30-ap-service-accounts"), 0);
    CHECK_INT(check_conditions("59-unlabelled-objects"), 0);
}

TEST(policies_with_a_target_are_not_told_anything_here)
{
    struct case_rig r;
    struct index_status s;

    case_rig_open(&r, "29-ap-targetrefs", "cluster.local");
    bool any = index_next_status(r.index, &s);
    size_t published = catalog_count(r.policies);
    case_rig_close(&r);
    CHECK(!any);
    CHECK_INT(published, 0);
}

/* ---- what a change of the network label does (it is no case of its own) */

TEST(the_system_namespace_names_the_network_of_all)
{
    struct case_rig r;
    AUTO(json) struct json *ns = json_new_object();

    case_rig_open(&r, "01-plain-deployment-pod", "cluster.local");
    uint64_t before = catalog_seq(r.addresses);
    json_set_str(json_make_object(ns, "metadata"), "name", "istio-system");
    json_set_str(json_make_object(ns, "metadata.labels"), "topology.istio.io/network", "net1");
    index_put(r.index, INDEX_NAMESPACE, ns);
    while (index_settle(r.index, 1)) {
    }
    unsigned sent = 0;
    bool named = true;
    for (const struct catalog_entry *e = catalog_after(r.addresses, before); e;
         e = catalog_next(r.addresses, e)) {
        struct slice v = catalog_value(e);
        named &= memmem(v.p, v.len, "net1", 4) != NULL;
        sent++;
    }
    case_rig_close(&r);
    CHECK_INT(sent, 2); /* the pod and its service */
    CHECK(named);
}
