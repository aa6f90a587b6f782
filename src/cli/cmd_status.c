/* SPDX-License-Identifier: Apache-2.0 */

#include "base/clock.h"
#include "base/mem.h"
#include "cli/api.h"
#include "cli/commands.h"
#include "cli/fix.h"
#include "cli/kept.h"
#include "cli/node_ask.h"
#include "cli/node_where.h"
#include "cli/runtime_client.h"
#include "cli/status_facts.h"
#include "cli/waypoint_object.h"
#include "codec/json.h"
#include "kube/resource.h"

struct heard { /* owns what node_facts borrows */
    struct node_facts facts;
    struct json *dump;
    struct json *open;
    struct json *agent;
    struct json *local;
    struct json *kept;
    char *ready;
    struct diag proxy_why;
    struct diag agent_why;
};

static void heard_fini(struct heard *h)
{
    json_unref(h->dump);
    json_unref(h->open);
    json_unref(h->agent);
    json_unref(h->local);
    json_unref(h->kept);
    mem_free(h->ready);
}

/* ---- asking one node */

static bool ask_proxy(const struct node_where *n, uint64_t limit_ms, struct heard *h)
{
    struct diag ignored = {0};
    int ready = node_ready_blocking(n, limit_ms, &h->ready, &ignored);

    if (node_page_blocking(n, "/config_dump", limit_ms, &h->dump, &h->proxy_why) < 0) {
        return false;
    }
    if (node_page_blocking(n, "/access/open", limit_ms, &h->open, &h->proxy_why) == 0) {
        h->proxy_why.code = 0;
    }
    return ready > 0;
}

static int ask_agent(const struct node_where *n, const char *op, uint64_t limit_ms,
                     struct json **out, struct diag *why)
{
    struct json *request = json_new_object();

    json_set_str(request, "op", op);
    return runtime_ask_blocking(n->runtime, request, limit_ms, out, why);
}

static void ask_runtime(const struct node_where *n, uint64_t limit_ms, struct heard *h)
{
    AUTO(json) struct json *list = NULL;
    int r = ask_agent(n, "status", limit_ms, &h->agent, &h->agent_why);

    if (r == -ENOENT) {
        h->agent_why.code = 0; /* this node's agent runs no workloads of its own */
        return;
    }
    if (r == 0) {
        r = ask_agent(n, "ps", limit_ms, &list, &h->agent_why);
    }
    if (r == 0) {
        h->local = json_ref(json_get(list, "workloads"));
        h->kept = json_new_array();
        r = kept_of_node_blocking(n, h->local, h->kept, &h->agent_why);
    }
}

static void ask_node(const struct node_where *n, uint64_t limit_ms, struct heard *h)
{
    bool ready = ask_proxy(n, limit_ms, h);

    ask_runtime(n, limit_ms, h);
    h->facts = (struct node_facts){.name = n->name,
                                   .dump = h->dump,
                                   .open = h->open,
                                   .agent = h->agent,
                                   .local = h->local,
                                   .kept = h->kept,
                                   .ready = h->ready,
                                   .is_ready = ready,
                                   .proxy_error = h->proxy_why.code ? h->proxy_why.text : NULL,
                                   .agent_error = h->agent_why.code ? h->agent_why.text : NULL,
                                   .agent_is_roots = h->agent_why.code == -EACCES};
}

static struct json *node_json(const struct heard *h)
{
    struct json *one = json_new_object();

    json_set_str(one, "name", h->facts.name);
    json_set_bool(one, "ready", h->facts.is_ready);
    json_set(one, "proxy", json_ref(json_get(h->dump, "version")));
    json_set(one, "agent", json_ref(h->agent));
    return one;
}

/* What all of them say, judged. A description of each, the caller's. */
static struct json *ask_nodes(struct cli *c, const struct nodes *nodes, struct findings *f,
                              struct status_counts *counts)
{
    struct heard *heard = mem_array(nodes->count, sizeof(*heard));
    struct node_facts *facts = mem_array(nodes->count, sizeof(*facts));
    struct json *about = json_new_array();
    struct progress p;

    progress_begin(&p, &c->term, "asking the nodes");
    for (unsigned i = 0; i < nodes->count; i++) {
        ask_node(&nodes->at[i], args_ms(&c->args, "timeout"), &heard[i]);
        facts[i] = heard[i].facts;
        json_append(about, node_json(&heard[i]));
        progress_tick(&p);
    }
    progress_end(&p);
    status_of_nodes(facts, nodes->count, clock_wall_s(), f, counts);
    for (unsigned i = 0; i < nodes->count; i++) {
        heard_fini(&heard[i]);
    }
    mem_free(facts);
    mem_free(heard);
    return about;
}

/* ---- asking the API */

/* What has a status of its own. A cluster may not have all of these kinds. */
static const struct judged {
    struct kube_resource resource;
    const char *kind;
    void (*judge)(const struct json *items, const char *kind, struct findings *f);
} judged[] = {
    {{"security.istio.io", "v1", "authorizationpolicies", true},
     "authorizationpolicy",
     status_of_policies},
    {{"security.istio.io", "v1", "requestauthentications", true},
     "requestauthentication",
     status_of_policies},
    {{"networking.istio.io", "v1", "destinationrules", true},
     "destinationrule",
     status_of_policies},
    {{"gateway.networking.k8s.io", "v1", "httproutes", true}, "httproute", status_of_routes},
    {{"gateway.networking.k8s.io", "v1", "grpcroutes", true}, "grpcroute", status_of_routes},
    {{"gateway.networking.k8s.io", "v1alpha2", "tcproutes", true}, "tcproute", status_of_routes},
};
static const struct kube_resource gateways = {"gateway.networking.k8s.io", "v1", "gateways", true};
static const struct kube_resource namespaces = {"", "v1", "namespaces", false};
static const struct kube_resource services = {"", "v1", "services", true};
static const struct kube_resource pods = {"", "v1", "pods", true};

static int list(struct api *a, const struct kube_resource *what, const char *label,
                struct json *into, struct diag *why)
{
    struct kube_ask ask = {.resource = what, .label_selector = label};
    AUTO(json) struct json *items = NULL;
    int r = api_list_blocking(a, &ask, &items, why);

    for (size_t i = 0; i < json_count(items); i++) {
        json_append(into, json_ref(json_item(items, i)));
    }
    return r;
}

/* A cluster without the Gateway API has no waypoints. */
static int ask_waypoints(struct api *a, struct findings *f, struct diag *why)
{
    AUTO(json) struct json *all = json_new_array();
    AUTO(json) struct json *running = json_new_array();
    AUTO(json) struct json *users = json_new_array();
    AUTO(json) struct json *rows = json_new_array();
    int r = list(a, &gateways, NULL, all, why);

    if (r == -ERR_NOT_FOUND) {
        return 0;
    }
    if (r == 0) {
        r = list(a, &pods, "gateway.networking.k8s.io/gateway-name", running, why);
    }
    if (r == 0) {
        r = list(a, &namespaces, "istio.io/use-waypoint", users, why);
    }
    if (r == 0) {
        r = list(a, &services, "istio.io/use-waypoint", users, why);
    }
    if (r < 0) {
        return r;
    }
    for (size_t i = 0; i < json_count(all); i++) {
        if (waypoint_is_one(json_item(all, i))) {
            json_append(rows, waypoint_row(json_item(all, i), running));
        }
    }
    status_of_waypoints(rows, users, f);
    return 0;
}

static int ask_judged(struct api *a, struct findings *f, struct diag *why)
{
    int r = 0;

    for (size_t i = 0; i < ARRAY_LEN(judged) && (r == 0 || r == -ERR_NOT_FOUND); i++) {
        struct kube_ask ask = {.resource = &judged[i].resource};
        AUTO(json) struct json *items = NULL;
        r = api_list_blocking(a, &ask, &items, why);
        judged[i].judge(items, judged[i].kind, f);
    }
    return r == -ERR_NOT_FOUND ? 0 : r;
}

/* Why it could not be asked at all goes into text; nodes answer without it. */
static void ask_api(struct cli *c, struct findings *f, struct strbuf *text)
{
    AUTO(api) struct api *a = NULL;
    struct diag why = {0};

    if (api_open_blocking(c, &a, &why) < 0) {
        strbuf_printf(text,
                      "the API was not asked for the status of policies, routes and waypoints: %s",
                      why.text);
        return;
    }
    int r = ask_judged(a, f, &why);
    if (r == 0) {
        r = ask_waypoints(a, f, &why);
    }
    if (r < 0) {
        struct finding *x = findings_add(
            f, FINDING_A106, "the API does not say how policies, routes and waypoints are");
        finding_evidence(x, "%s", cli_words(c, &why));
        if (why.code == -ECONNREFUSED) {
            finding_fix(x, "ambit up");
        }
    }
}

/* ---- saying */

static void show(struct cli *c, const struct findings *f, const struct status_counts *counts,
                 struct json *take_nodes, const char *note)
{
    AUTO(json) struct json *nodes = take_nodes;
    AUTO(strbuf) struct strbuf sentence = {0};
    AUTO(strbuf) struct strbuf b = {0};

    status_sentence(counts, &sentence);
    if (cli_wants_json(c)) {
        struct json *all = json_new_object();
        json_set_int(all, "version", 1);
        json_set_str(all, "verdict", findings_verdict(f));
        json_set_str(all, "text", strbuf_text(&sentence));
        json_set(all, "counts", status_counts_to_json(counts));
        json_set(all, "findings", findings_to_json(f));
        json_set(all, "nodes", MOVE(nodes));
        if (*note) {
            json_set_str(all, "note", note);
        }
        cli_print_json(c, all);
        return;
    }
    findings_headline(f, c->term.out_colour, &b);
    strbuf_printf(&b, ": %s\n", strbuf_text(&sentence));
    findings_print(f, c->term.out_colour, &b);
    if (*note) {
        strbuf_printf(&b, "note: %s\n", note);
    }
    term_out(&c->term, &b);
}

static void put_fix(const void *cli, const char *fix, struct strbuf *out)
{
    fix_here(cli, fix, out);
}

static enum answer run(struct cli *c)
{
    AUTO(strbuf) struct strbuf note = {0};
    struct status_counts counts = {0};
    struct diag why = {0};
    struct findings f;
    struct nodes nodes;

    if (nodes_find_blocking(&c->args, &nodes, &why) < 0) {
        return nodes_fail(c, &why);
    }
    findings_init(&f);
    struct json *about = ask_nodes(c, &nodes, &f, &counts);
    if (!args_has(&c->args, "no-api")) {
        ask_api(c, &f, &note);
    }
    findings_put_fixes(&f, c, put_fix);
    show(c, &f, &counts, about, strbuf_text(&note));
    enum answer answer = findings_answer(&f, args_has(&c->args, "strict"));
    findings_fini(&f);
    nodes_fini(&nodes);
    return answer;
}

static const struct arg_option own[] = {
    {"strict", 0, ARG_FLAG, NULL, NULL, "warnings count: exit status 1"},
    {"no-api", 0, ARG_FLAG, NULL, NULL, "ask the nodes only"},
    {0}};
static const struct arg_option *const tables[] = {
    own, options_output, options_node, options_proxy, options_kube, options_common, NULL};

const struct command cmd_status = {
    .name = "status",
    .operands = "",
    .summary = "is the mesh in order, and is everything protected that should be?",
    .about =
        "The verdict comes first; then each finding with its evidence and the one command that "
        "helps: proxies and agents that do not answer or are not ready, a lost control plane, "
        "workloads that are pending, policies that fail closed, certificates near their end, and "
        "every connection that still runs in plaintext. `ambit help A501` explains a finding. The "
        "nodes answer for themselves, so this works without the control plane. Exit status: 0 in "
        "order (warnings are shown), 1 a problem, 3 something could not be asked.",
    .examples = "ambit status\tthe whole machine\n"
                "ambit status --strict\tplaintext and ageing certificates count as well\n"
                "ambit status --node n1 -o json\tone node, for programs",
    .tables = tables,
    .run = run};
