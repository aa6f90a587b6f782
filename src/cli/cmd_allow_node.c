/* SPDX-License-Identifier: Apache-2.0 */
#include "base/mem.h"
#include "cli/allowed_nodes.h"
#include "cli/api.h"
#include "cli/commands.h"
#include "codec/json.h"
#include "codec/name.h"
#include "kube/resource.h"

static const struct kube_resource accounts = {"", "v1", "serviceaccounts", true};
static const struct kube_resource namespaces = {"", "v1", "namespaces", false};
static const struct kube_resource pods = {"", "v1", "pods", true};

struct subject {
    const char *ns;
    const char *node;
    const char *name;
    struct json *account;
    struct json *namespace;
    struct json *pods;
};

static void subject_fini(struct subject *s)
{
    json_unref(s->account);
    json_unref(s->namespace);
    json_unref(s->pods);
}

static int load(struct api *a, struct subject *s, struct diag *why)
{
    struct kube_ask account = {
        .verb = KUBE_GET, .resource = &accounts, .ns = s->ns, .name = s->name};
    struct kube_ask namespace = {.verb = KUBE_GET, .resource = &namespaces, .name = s->ns};
    struct kube_ask running = {.resource = &pods, .ns = s->ns};
    int r = api_call_blocking(a, &account, &s->account, why);

    if (r == 0) {
        r = api_call_blocking(a, &namespace, &s->namespace, why);
    }
    return r < 0 ? r : api_list_blocking(a, &running, &s->pods, why);
}

/* Only if the account is still as it was read: nobody's change is lost. */
static int write(struct api *a, const struct subject *s, const char *nodes, struct diag *why)
{
    AUTO(json) struct json *body = json_new_object();
    AUTO(json) struct json *after = NULL;
    struct json *meta = json_make_object(body, "metadata");
    struct kube_ask ask = {.verb = KUBE_MERGE_PATCH,
                           .resource = &accounts,
                           .ns = s->ns,
                           .name = s->name,
                           .body = body};

    json_set_str(meta, "resourceVersion", json_str_at(s->account, "metadata.resourceVersion", ""));
    json_set_str(json_make_object(meta, "annotations"), "ambit.io/allowed-nodes", nodes);
    return api_call_blocking(a, &ask, &after, why);
}

static enum answer change(struct cli *c, struct api *a, const struct subject *s)
{
    AUTO(text) char *nodes = allowed_nodes_with(s->account, s->namespace, s->pods, s->node);
    struct diag why = {0};

    if (nodes && write(a, s, nodes, &why) < 0) {
        return cli_fail_diag(c, NULL, &why);
    }
    struct json *did = cli_did(c, s->ns, s->name, nodes ? "allowed" : "unchanged");
    json_set_str(did, "kind", "ServiceAccount");
    json_set_str(did, "node", s->node);
    if (nodes) {
        json_set_str(did, "allowedNodes", nodes);
        cli_say(c, "account %s/%s: %s may run it", s->ns, s->name, nodes);
    } else {
        cli_say(c, "account %s/%s: node %s may run it already", s->ns, s->name, s->node);
    }
    return ANSWER_YES;
}

static enum answer run(struct cli *c)
{
    AUTO(api) struct api *a = NULL;
    struct diag why = {0};
    struct subject s = {.node = c->args.operands[0], .name = c->args.operands[1]};

    /* "n2,*" would let in everybody */
    if (name_problem(NAME_SUBDOMAIN, s.node)) {
        return cli_fail(c, ANSWER_USAGE, "ambit get nodes", "%.64s is no name of a node", s.node);
    }
    if (api_open_blocking(c, &a, &why) < 0) {
        return api_fail(c, &why);
    }
    s.ns = api_namespace(a);
    int r = load(a, &s, &why);
    enum answer answer = r < 0 ? cli_fail_diag(c, NULL, &why) : change(c, a, &s);
    subject_fini(&s);
    return answer;
}

static const struct arg_option own[] = {
    {"namespace", 'n', ARG_TEXT, "NAMESPACE", NULL, "of the account; otherwise the context's"},
    {0}};
static const struct arg_option *const tables[] = {
    own, options_result, options_kube, options_timeout, options_common, NULL};

const struct command cmd_allow_node = {
    .name = "allow-node",
    .operands = "NODE ACCOUNT",
    .summary = "let one more node run a service account's workloads",
    .about = "A service account is bound to the node that first runs a workload of it, so that "
             "whoever takes another node cannot act in its name. This adds a node to the account's "
             "annotation ambit.io/allowed-nodes, with the administrator's credential. An "
             "annotation of the namespace speaks for all its accounts that have none; \"*\" in "
             "either allows every node. The account \"default\" is bound to no node unless one of "
             "the two says so.",
    .examples = "ambit allow-node n2 web -n shop\tn2 may run workloads of shop/web, too",
    .tables = tables,
    .operands_min = 2,
    .operands_max = 2,
    .run = run};
