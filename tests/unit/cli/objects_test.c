/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "base/mem.h"
#include "cli/allowed_nodes.h"
#include "cli/args.h"
#include "cli/label_change.h"
#include "cli/manifest.h"
#include "cli/manifest_check.h"
#include "cli/mesh_effect.h"
#include "cli/resource_kind.h"
#include "cli/rows.h"
#include "cli/run_spec.h"
#include "codec/json.h"
#include "codec/yaml.h"
#include "t.h"

static struct json *read_yaml(const char *text)
{
    struct json *all = NULL;

    if (yaml_parse_all(&all, text, strlen(text), NULL) < 0) {
        return NULL;
    }
    AUTO(json) struct json *owned = all;
    return json_ref(json_item(owned, 0));
}

TEST(kinds_are_found_under_every_name)
{
    static const struct {
        const char *word;
        const char *kind;
    } rows[] = {{"pods", "Pod"},
                {"po", "Pod"},
                {"POD", "Pod"},
                {"ns", "Namespace"},
                {"svc", "Service"},
                {"authorizationpolicies", "AuthorizationPolicy"},
                {"authorizationpolicy.security.istio.io", "AuthorizationPolicy"},
                {"gateways.gateway.networking.k8s.io", "Gateway"}};
    struct diag why = {0};

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const struct resource_kind *k = resource_kind_find(rows[i].word, &why);
        CHECK(k);
        CHECK_STR(k->kind, rows[i].kind);
    }
    CHECK(!resource_kind_find("pod.apps", &why));
    CHECK(!resource_kind_find("servce", &why));
    CHECK_STR(why.text, "no kind servce; did you mean service?");
    CHECK(!resource_kind_find("", &why));
}

TEST(manifests_name_the_field_that_is_wrong_and_what_to_write)
{
    static const struct {
        const char *yaml;
        const char *said; /* "" = nothing is wrong */
    } rows[] = {
        {"kind: Pod\nmetadata: {name: a}", "apiVersion is missing"},
        {"apiVersion: v1\nmetadata: {name: a}", "kind is missing"},
        {"apiVersion: v1\nkind: Pod\nmetadata: {}", "metadata.name is missing"},
        {"- a", "this is no object; a manifest begins with apiVersion:"},
        {"apiVersion: v1\nkind: Pood\nmetadata: {name: a}",
         "kind: Pood is not known here; did you mean Pod?"},
        {"apiVersion: v1\nkind: Frobnicator\nmetadata: {name: a}",
         "kind: Frobnicator is not known here; kubectl may know it"},
        {"{apiVersion: telemetry.istio.io/v1, kind: Telemetry, metadata: {name: t}}",
         "kind: Telemetry means nothing to Ambit; take it out"},
        {"apiVersion: apps/v1\nkind: Pod\nmetadata: {name: a}",
         "apiVersion: apps/v1 has no Pod; write v1"},
        {"apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {ports: [{port: 70000}]}",
         "spec.ports[0].port: write a number from 1 to 65535"},
        {"apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {ports: [{prot: 80}]}",
         "spec.ports[0].prot: no such field; did you mean port?"},
        {"apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {ports: [{port: 1}, {port: "
         "2}]}",
         "spec.ports[0].name is missing: several ports need names"},
        {"apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {ports: {port: 1}}",
         "spec.ports: write a list: - port: 80"},
        {"apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {ports: [{port: 80}]}", ""},
#define POLICY "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: a}\n"
        {POLICY "spec: {action: DENIE}",
         "spec.action: DENIE is not one of ALLOW DENY AUDIT CUSTOM"},
        {POLICY "spec: {rulez: []}", "spec.rulez: no such field; did you mean rules?"},
        {POLICY "spec: {rules: [{form: []}]}",
         "spec.rules[0].form: no such field; did you mean from?"},
        {POLICY "spec: {rules: [{from: [{principals: [a]}]}]}",
         "spec.rules[0].from[0].principals: no such field; there are source"},
        {POLICY "spec: {rules: [{from: [{source: {principal: [a]}}]}]}",
         "spec.rules[0].from[0].source.principal: no such field; did you mean principals?"},
        {POLICY "spec: {rules: [{from: [{source: {principals: a}}]}]}",
         "spec.rules[0].from[0].source.principals: write a list: [\"...\"]"},
        {POLICY "spec: {rules: [{to: [{operation: {ports: [80]}}]}]}",
         "spec.rules[0].to[0].operation.ports[0]: put it in quotes: \"...\""},
        {POLICY "spec: {rules: [{to: [{}]}]}", "spec.rules[0].to[0].operation is missing"},
        {POLICY "spec: {rules: [{when: [{values: [a]}]}]}", "spec.rules[0].when[0].key is missing"},
        {POLICY "spec: {rules: {from: []}}", "spec.rules: write a list: - from:"},
        {POLICY "spec: {action: DENY, rules: [{from: [{source: {namespaces: [a]}}], to: "
                "[{operation: {ports: ['80']}}], when: [{key: source.ip, values: [a]}]}]}",
         ""},
        {POLICY "spec: {}", ""},
#define PEER                                                                                       \
    "apiVersion: security.istio.io/v1beta1\nkind: PeerAuthentication\nmetadata: {name: a}\n"
        {PEER "spec: {mtls: {mode: STRIKT}}",
         "spec.mtls.mode: STRIKT is not one of UNSET DISABLE PERMISSIVE STRICT"},
        {PEER "spec: {portLevelMtls: {80: {mode: OFF}}}",
         "spec.portLevelMtls.80.mode: this is not one of UNSET DISABLE PERMISSIVE STRICT"},
        {PEER "spec: {mtls: {mode: STRICT}, portLevelMtls: {8080: {mode: DISABLE}}}", ""},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        AUTO(json) struct json *o = read_yaml(rows[i].yaml);
        struct diag why = {0};
        const struct resource_kind *k = NULL;
        int r = manifest_check_head(o, &why);
        if (r == 0) {
            k = resource_kind_of(o, &why);
            r = !k ? why.code : k->check ? k->check(o, &why) : 0;
        }
        CHECK_STR(why.text, rows[i].said);
        CHECK_INT(r == 0, *rows[i].said == '\0');
    }
}

TEST(documents_and_lists_are_taken_apart_and_remember_their_line)
{
    static const char text[] = "a: 1\n---\n---\nkind: List\nitems: [{b: 2}, {c: 3}]\n---\nd: 4\n";
    AUTO(json) struct json *all = json_new_array();
    AUTO(strbuf) struct strbuf b = {0};
    struct diag why = {0};

    CHECK_INT(manifest_read(text, strlen(text), "x.yaml", all, &why), 0);
    json_print(all, 0, &b);
    CHECK_STR(strbuf_text(&b), "[{\"from\":\"x.yaml:1\",\"object\":{\"a\":1}},"
                               "{\"from\":\"x.yaml:3\",\"object\":{\"b\":2}},"
                               "{\"from\":\"x.yaml:3\",\"object\":{\"c\":3}},"
                               "{\"from\":\"x.yaml:6\",\"object\":{\"d\":4}}]");
    CHECK_INT(manifest_read("a: [", 4, "x.yaml", all, &why), -ERR_SYNTAX);
    CHECK(strncmp(why.text, "x.yaml: ", 8) == 0);
    static const char twice[] =
        "kind: A\n---\nspec: {rules: []}\nmetadata: {name: rules}\nspec: {}\n";
    static const char deeper[] = "[{a: 1, b: {c: 1, \n c: 2}}]";
    static const char merged[] = "x: &x {a: 1}\ny: {<<: *x, a: 2, b: a}\n";
    CHECK_INT(manifest_read(twice, strlen(twice), "x.yaml", all, &why), -ERR_SYNTAX);
    CHECK_STR(why.text, "x.yaml:5: spec is there twice, and only one would count");
    CHECK_INT(manifest_read(deeper, strlen(deeper), "x.yaml", all, &why), -ERR_SYNTAX);
    CHECK_STR(why.text, "x.yaml:2: c is there twice, and only one would count");
    CHECK_INT(manifest_read(merged, strlen(merged), "x.yaml", all, NULL), 0);
}

TEST(label_words_are_changes)
{
    char words[][8] = {"a=1", "b=", "c-", "d=x=y"};
    char bad[][8] = {"a", "=1", "-", ""};
    char *good[] = {words[0], words[1], words[2], words[3]};
    AUTO(json) struct json *patch = NULL;
    AUTO(strbuf) struct strbuf b = {0};

    CHECK_INT(label_change_read(good, 4, &patch, NULL), 0);
    json_print(patch, 0, &b);
    CHECK_STR(strbuf_text(&b), "{\"a\":\"1\",\"b\":\"\",\"c\":null,\"d\":\"x=y\"}");
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct json *none = NULL;
        char *word = bad[i];
        CHECK_INT(label_change_read(&word, 1, &none, NULL), -ERR_SYNTAX);
        CHECK(!none);
    }
}

TEST(label_changes_know_conflicts_and_whether_they_change_anything)
{
    static const struct {
        const char *labels;
        const char *patch;
        const char *conflict;
        bool needed;
    } rows[] = {
        {"{}", "{a: '1'}", NULL, true},      {"{a: '1'}", "{a: '1'}", NULL, false},
        {"{a: '2'}", "{a: '1'}", "a", true}, {"{a: '2'}", "{a: null}", NULL, true},
        {"{}", "{a: null}", NULL, false},    {"{b: x}", "{a: null, b: x}", NULL, false},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        AUTO(json) struct json *labels = read_yaml(rows[i].labels);
        AUTO(json) struct json *patch = read_yaml(rows[i].patch);
        const char *conflict = label_change_conflict(labels, patch);
        CHECK_STR(conflict ? conflict : "", rows[i].conflict ? rows[i].conflict : "");
        CHECK_INT(label_change_is_needed(labels, patch), rows[i].needed);
    }
}

TEST(a_label_that_looks_like_one_of_the_mesh_is_pointed_at)
{
    static const struct {
        const char *patch;
        const char *said;
    } rows[] = {
        {"{istio.io/dataplane-mode: ambient, istio.io/use-waypoint-namespace: a, app: cart}", ""},
        {"{istio.io/dataplane_mode: ambient}",
         "istio.io/dataplane_mode means nothing here; did you mean istio.io/dataplane-mode?\n"},
        {"{use-waypoint: w}",
         "use-waypoint means nothing here; did you mean istio.io/use-waypoint?\n"},
        {"{use-waypoint: null, istio-injection: null}", ""},
        {"{istio-injection: enabled}",
         "istio-injection means nothing here, where there are no sidecars; write "
         "istio.io/dataplane-mode=ambient\n"},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        AUTO(json) struct json *patch = read_yaml(rows[i].patch);
        AUTO(strbuf) struct strbuf b = {0};
        label_change_hints(patch, &b);
        CHECK_STR(strbuf_text(&b), rows[i].said);
    }
}

TEST(values_that_mean_nothing_to_the_mesh_are_refused)
{
    static const struct {
        const char *patch;
        const char *said; /* NULL: it is fine */
        const char *meant;
    } rows[] = {
        {"{istio.io/dataplane-mode: ambient, istio.io/use-waypoint: anything, app: ambiant}", NULL,
         NULL},
        {"{istio.io/dataplane-mode: none, istio.io/waypoint-for: all}", NULL, NULL},
        {"{istio.io/dataplane-mode: null, istio.io/ingress-use-waypoint: 'false'}", NULL, NULL},
        {"{istio.io/dataplane-mode: ambiant}",
         "istio.io/dataplane-mode=ambiant means nothing; write ambient or none", "ambient"},
        {"{istio.io/dataplane-mode: ''}",
         "istio.io/dataplane-mode= means nothing; write ambient or none", NULL},
        {"{istio.io/dataplane-mode: enabled}",
         "istio.io/dataplane-mode=enabled means nothing; write ambient or none", NULL},
        {"{istio.io/waypoint-for: services}",
         "istio.io/waypoint-for=services means nothing; write service, workload, all or none",
         "service"},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        AUTO(json) struct json *patch = read_yaml(rows[i].patch);
        const char *key = NULL;
        const char *meant = NULL;
        struct diag why = {0};
        CHECK_INT(label_change_check(patch, &key, &meant, &why), rows[i].said ? -ERR_SYNTAX : 0);
        CHECK_STR(why.text, rows[i].said ? rows[i].said : "");
        CHECK_STR(meant ? meant : "", rows[i].meant ? rows[i].meant : "");
    }
}

TEST(who_is_captured_follows_the_labels_of_pod_and_namespace)
{
#define AMBIENT "{istio.io/dataplane-mode: ambient}"
#define NONE    "{istio.io/dataplane-mode: none}"
    static const struct {
        const char *ns;
        const char *own;
        const char *pod;
        bool captured;
    } rows[] = {
        {"{}", "{}", "{}", false},
        {AMBIENT, "{}", "{}", true},
        {AMBIENT, NONE, "{}", false},
        {"{}", AMBIENT, "{}", true},
        {NONE, AMBIENT, "{}", true},
        {AMBIENT, "{}", "{spec: {hostNetwork: true}}", false},
        {"{}", AMBIENT, "{spec: {hostNetwork: true}}", false},
        {AMBIENT, "{}", "{status: {phase: Succeeded}}", false},
        {AMBIENT, "{}", "{status: {phase: Running}}", true},
        {AMBIENT, "{}", "{metadata: {annotations: {sidecar.istio.io/status: x}}}", false},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        AUTO(json) struct json *ns = read_yaml(rows[i].ns);
        AUTO(json) struct json *own = read_yaml(rows[i].own);
        AUTO(json) struct json *pod = read_yaml(rows[i].pod);
        CHECK_INT(mesh_captures(ns, own, pod), rows[i].captured);
    }
}

TEST(labelling_says_what_it_means_for_the_mesh)
{
    static const char pods[] =
        "[{metadata: {name: a}}, {metadata: {name: b, labels: " NONE "}}, {metadata: {name: c}}]";
    static const struct {
        const char *kind;
        const char *old;
        const char *new;
        const char *said;
    } rows[] = {
        {"ns", "{}", "{x: y}", ""},
        {"ns", "{}", AMBIENT,
         "2 running pods will be captured; existing connections stay as they are\n"},
        {"ns", AMBIENT, "{}",
         "2 running pods will leave the mesh; new connections are plain, those that the proxy "
         "carries may end in peace (ten minutes at most)\n"},
        {"ns", "{}", NONE, "no running pod joins or leaves the mesh by this\n"},
        {"svc", "{}", AMBIENT, ""},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        AUTO(json) struct json *object = json_new_object();
        AUTO(json) struct json *labels = read_yaml(rows[i].new);
        AUTO(json) struct json *all = read_yaml(pods);
        AUTO(strbuf) struct strbuf b = {0};
        json_set(json_make_object(object, "metadata"), "labels", read_yaml(rows[i].old));
        mesh_effect_say(resource_kind_find(rows[i].kind, NULL), object, labels, NULL, all, &b);
        CHECK_STR(strbuf_text(&b), rows[i].said);
    }
}

TEST(objects_become_rows_of_their_kind)
{
    AUTO(json)
    struct json *pod = read_yaml(
        "{metadata: {name: a, namespace: s, creationTimestamp: '1970-01-01T00:00:10Z', "
        "annotations: "
        "{ambient.istio.io/redirection: enabled}}, spec: {nodeName: n1}, status: {phase: Running, "
        "podIPs: [{ip: 10.0.0.1}, {ip: 'fd00::1'}]}}");
    const struct resource_kind *k = resource_kind_find("pod", NULL);
    struct row_column columns[RESOURCE_COLUMNS_MAX];
    AUTO(json) struct json *rows = json_new_array();
    AUTO(strbuf) struct strbuf b = {0};

    json_append(rows, resource_kind_row(k, pod, 75));
    resource_kind_columns(k, true, columns);
    rows_print(rows, columns, false, false, &b);
    CHECK_STR(strbuf_text(&b), "NAMESPACE  NAME  STATUS   MESH  ADDRESSES         NODE  AGE\n"
                               "s          a     Running  in    10.0.0.1,fd00::1  n1    1m5s\n");
}

TEST(run_asks_the_agent_for_what_its_options_say)
{
    static const char *const words[] = {"-n",   "shop",     "--sa=cart", "--name", "x",
                                        "-l",   "app=cart", "-e",        "A=b",    "-u",
                                        "root", "--",       "nginx",     "-g",     "x y"};
    static const struct arg_option *const tables[] = {options_run_spec, NULL};
    char copies[ARRAY_LEN(words)][16];
    char *argv[ARRAY_LEN(words)];
    struct args a;
    AUTO(json) struct json *request = NULL;
    AUTO(strbuf) struct strbuf b = {0};

    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        (void)snprintf(copies[i], sizeof(copies[i]), "%s", words[i]);
        argv[i] = copies[i];
    }
    CHECK_INT(args_parse(&a, tables, true, ARRAY_LEN(words), argv, NULL), 0);
    CHECK_INT(run_spec_make(&a, true, &request, NULL), 0);
    json_print(request, JSON_PRINT_SORTED, &b);
    CHECK_STR(strbuf_text(&b),
              "{\"attach\":true,\"op\":\"run\",\"spec\":{\"allowRoot\":true,\"command\":[\"nginx\","
              "\"-g\",\"x y\"],\"env\":[\"A=b\"],\"labels\":{\"app\":\"cart\"},\"name\":\"x\","
              "\"namespace\":\"shop\",\"restart\":\"never\",\"serviceAccount\":\"cart\",\"user\":"
              "\"root\","
              "\"workdir\":\"/\"}}");
}

TEST(a_workload_without_a_name_gets_one_from_its_command)
{
    static const struct arg_option *const tables[] = {options_run_spec, NULL};
    static const struct {
        const char *command;
        const char *prefix;
    } rows[] = {
        {"/usr/sbin/nginx", "nginx-"}, {"Redis_Server.x", "redis-server-x-"}, {"./--", "command-"}};

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char dashes[] = "--";
        char command[32];
        char *argv[] = {dashes, command};
        struct args a;
        AUTO(json) struct json *request = NULL;
        (void)snprintf(command, sizeof(command), "%s", rows[i].command);
        CHECK_INT(args_parse(&a, tables, true, 2, argv, NULL), 0);
        CHECK_INT(run_spec_make(&a, false, &request, NULL), 0);
        const char *name = json_str_at(request, "spec.name", "");
        CHECK_INT(strncmp(name, rows[i].prefix, strlen(rows[i].prefix)), 0);
        CHECK_INT(strlen(name), strlen(rows[i].prefix) + 5);
    }
}

TEST(objects_of_layer_7_show_what_they_are_about)
{
    static const struct {
        const char *kind;
        const char *object;
        const char *want; /* a part of the row */
    } rows[] = {
        {"httproute",
         "{metadata: {name: r, namespace: s}, spec: {hostnames: [a.b], parentRefs: [{kind: "
         "Service, name: "
         "cart}, {name: front}], rules: [{}, {}]}, status: {parents: [{conditions: [{type: "
         "Accepted, status: "
         "'True'}]}, {conditions: [{type: Accepted, status: 'False'}]}]}}",
         "{parents: [Service/cart, Gateway/front], hosts: [a.b], rules: 2, accepted: 'False'}"},
        {"gtw",
         "{metadata: {name: w}, spec: {gatewayClassName: istio-waypoint}, status: {addresses: "
         "[{value: "
         "10.96.0.9}], conditions: [{type: Programmed, status: 'True'}]}}",
         "{class: istio-waypoint, programmed: 'True', addresses: [10.96.0.9]}"},
        {"ap",
         "{metadata: {name: p}, spec: {action: DENY, rules: [{}], targetRefs: [{kind: Service, "
         "name: cart}]}, "
         "status: {conditions: [{type: WaypointAccepted, status: 'True'}]}}",
         "{action: DENY, rules: 1, accepted: 'True', targets: [Service/cart]}"},
        {"ra",
         "{metadata: {name: p}, spec: {targetRef: {kind: Gateway, name: w}, jwtRules: [{issuer: "
         "i}]}}",
         "{issuers: [i], targets: [Gateway/w]}"},
        {"svc",
         "{metadata: {name: p, labels: {istio.io/use-waypoint: w}}, spec: {ports: [{port: 80}]}}",
         "{waypoint: w, ports: [80]}"},
        {"deploy", "{metadata: {name: d}, spec: {replicas: 2}, status: {readyReplicas: 1}}",
         "{ready: 1/2}"},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        AUTO(json) struct json *object = read_yaml(rows[i].object);
        AUTO(json) struct json *want = read_yaml(rows[i].want);
        const struct resource_kind *k = resource_kind_find(rows[i].kind, NULL);
        CHECK(object && want && k);
        AUTO(json) struct json *row = resource_kind_row(k, object, 0);
        for (struct json_iter it = {0}; json_each(want, &it);) {
            printf("# %s %s\n", rows[i].kind, it.key);
            CHECK(json_same(json_get(row, it.key), it.value));
        }
    }
}

TEST(a_node_more_may_run_an_account)
{
    static const struct {
        const char *account;
        const char *namespace;
        const char *pods;
        const char *nodes; /* NULL: n2 may already */
    } rows[] = {
        {"{metadata: {name: web}}", "{}", "[]", "n2"},
        {"{metadata: {name: web}}", "{}",
         "[{spec: {serviceAccountName: web, nodeName: n1}}, {spec: {serviceAccountName: web, "
         "nodeName: n1}}, {spec: {serviceAccountName: other, nodeName: n3}}, {spec: "
         "{serviceAccountName: web}}]",
         "n1,n2"},
        {"{metadata: {name: web, annotations: {ambit.io/allowed-nodes: n1}}}", "{}",
         "[{spec: {serviceAccountName: web, nodeName: n3}}]", "n1,n2"},
        {"{metadata: {name: web, annotations: {ambit.io/allowed-nodes: 'n1, n2'}}}", "{}", "[]",
         NULL},
        {"{metadata: {name: web, annotations: {ambit.io/allowed-nodes: '*'}}}", "{}", "[]", NULL},
        {"{metadata: {name: web, annotations: {ambit.io/allowed-nodes: ''}}}", "{}", "[]", "n2"},
        {"{metadata: {name: web}}", "{metadata: {annotations: {ambit.io/allowed-nodes: 'n1,n3'}}}",
         "[]", "n1,n3,n2"},
        {"{metadata: {name: web}}", "{metadata: {annotations: {ambit.io/allowed-nodes: '*'}}}",
         "[]", NULL},
        {"{metadata: {name: web, annotations: {ambit.io/allowed-nodes: n22}}}",
         "{metadata: {annotations: {ambit.io/allowed-nodes: '*'}}}", "[]", "n22,n2"},
        {"{metadata: {name: default}}", "{}", "[]", NULL},
        {"{metadata: {name: default}}", "{metadata: {annotations: {ambit.io/allowed-nodes: n1}}}",
         "[]", "n1,n2"},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        AUTO(json) struct json *account = read_yaml(rows[i].account);
        AUTO(json) struct json *namespace = read_yaml(rows[i].namespace);
        AUTO(json) struct json *pods = read_yaml(rows[i].pods);
        AUTO(text) char *nodes = allowed_nodes_with(account, namespace, pods, "n2");
        CHECK_STR(nodes ? nodes : "(may)", rows[i].nodes ? rows[i].nodes : "(may)");
    }
}

TEST(what_a_node_was_refused_is_answered_with_the_command_that_allows_it)
{
    static const struct arg_option *const tables[] = {options_run_spec, NULL};
    static const char *const errors[] = {
        "API server, 403: node n2 may not run account shop/web, only n1 may: ambit allow-node n2 w",
        "node n2 may not run account sho"};
    static const char *const sentences[] = {"node n2 may not run account shop/web, only n1 may",
                                            "node n2 may not run account sho"};
    char *argv[] = {(char[]){"-n"},  (char[]){"shop"}, (char[]){"--sa"},
                    (char[]){"web"}, (char[]){"--"},   (char[]){"true"}};

    for (size_t i = 0; i < ARRAY_LEN(errors); i++) {
        struct args a;
        AUTO(strbuf) struct strbuf said = {0};
        AUTO(strbuf) struct strbuf fix = {0};
        CHECK_INT(args_parse(&a, tables, true, ARRAY_LEN(argv), argv, NULL), 0);
        CHECK(run_spec_fix(&a, errors[i], &said, &fix));
        CHECK_STR(strbuf_text(&said), sentences[i]);
        CHECK_STR(strbuf_text(&fix), "ambit allow-node n2 web -n shop");
    }
}

/* An agent's words are those of whoever has taken its node. */
TEST(words_of_an_agent_do_not_become_a_command)
{
    static const struct arg_option *const tables[] = {options_run_spec, NULL};
    static const char *const errors[] = {
        "node $(id) may not run account shop/web", "node n2,* may not run account shop/web",
        "node * may not run account shop/web", "node  may not run account shop/web"};
    char *argv[] = {(char[]){"--sa"}, (char[]){"web"}, (char[]){"--"}, (char[]){"true"}};

    for (size_t i = 0; i < ARRAY_LEN(errors); i++) {
        struct args a;
        AUTO(strbuf) struct strbuf said = {0};
        AUTO(strbuf) struct strbuf fix = {0};
        CHECK_INT(args_parse(&a, tables, true, ARRAY_LEN(argv), argv, NULL), 0);
        CHECK(!run_spec_fix(&a, errors[i], &said, &fix));
        CHECK_STR(strbuf_text(&fix), "");
    }
}
