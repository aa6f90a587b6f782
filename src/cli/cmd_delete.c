/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "cli/api.h"
#include "cli/commands.h"
#include "cli/manifest.h"
#include "cli/resource_kind.h"
#include "codec/json.h"

/* For programs. */
static void did(struct cli *c, const struct resource_kind *k, const char *ns, const char *name,
                const char *result, const char *error)
{
    struct json *one = cli_did(c, ns, name, result);

    json_set_str(one, "kind", k->kind);
    if (error) {
        json_set_str(one, "error", error);
    }
}

static enum answer delete_one(struct cli *c, struct api *a, const struct resource_kind *k,
                              const char *ns, const char *name)
{
    AUTO(json) struct json *gone = NULL;
    struct diag why = {0};
    struct kube_ask ask = {.verb = KUBE_DELETE, .resource = &k->resource, .ns = ns, .name = name};
    int r = api_call_blocking(a, &ask, &gone, &why);

    if (r == -ERR_NOT_FOUND && args_has(&c->args, "ignore-not-found")) {
        did(c, k, ns, name, "absent", NULL);
        return ANSWER_YES;
    }
    if (r < 0) {
        did(c, k, ns, name, r == -ERR_NOT_FOUND ? "absent" : "failed", cli_words(c, &why));
        return cli_fail_diag(c, NULL, &why);
    }
    did(c, k, ns, name, "deleted", NULL);
    cli_say(c, "%s/%s deleted%s%s", k->singular, name, *ns ? " from namespace " : "", ns);
    return ANSWER_YES;
}

static enum answer worse(enum answer a, enum answer b)
{
    return a == ANSWER_YES || b == ANSWER_NO ? b : a;
}

static enum answer delete_named(struct cli *c, struct api *a)
{
    struct diag why = {0};
    enum answer answer = ANSWER_YES;
    const struct resource_kind *k = resource_kind_find(c->args.operands[0], &why);

    if (!k) {
        return cli_fail(c, ANSWER_USAGE, NULL, "%s", why.text);
    }
    const char *ns = k->resource.namespaced ? api_namespace(a) : "";
    for (unsigned i = 1; i < c->args.operand_count; i++) {
        enum answer one = delete_one(c, a, k, ns, c->args.operands[i]);
        answer = one == ANSWER_YES ? answer : worse(answer, one);
    }
    return answer;
}

static enum answer delete_entry(struct cli *c, struct api *a, const struct json *entry)
{
    struct diag why = {0};
    const struct json *object = json_get(entry, "object");
    const struct resource_kind *k = resource_kind_of(object, &why);

    if (!k) {
        return cli_fail(c, ANSWER_NO, NULL, "%s: %s", json_str_at(entry, "from", ""), why.text);
    }
    const char *ns =
        k->resource.namespaced ? json_str_at(object, "metadata.namespace", api_namespace(a)) : "";
    return delete_one(c, a, k, ns, json_str_at(object, "metadata.name", ""));
}

/* From the last to the first: what was made on top of something goes before it. */
static enum answer delete_files(struct cli *c, struct api *a)
{
    AUTO(json) struct json *all = json_new_array();
    struct diag why = {0};
    enum answer answer = ANSWER_YES;

    if (manifest_load_all_blocking(&c->args, all, &why) < 0) {
        return cli_fail(c, ANSWER_NO, NULL, "%s", why.text);
    }
    for (size_t i = json_count(all); i > 0; i--) {
        enum answer one = delete_entry(c, a, json_item(all, i - 1));
        answer = one == ANSWER_YES ? answer : worse(answer, one);
    }
    return answer;
}

static enum answer run(struct cli *c)
{
    AUTO(api) struct api *a = NULL;
    struct diag why = {0};
    bool files = args_has(&c->args, "filename");

    if (files ? c->args.operand_count > 0 : c->args.operand_count < 2) {
        return cli_fail(c, ANSWER_USAGE, "ambit help delete", "needs KIND NAME..., or -f FILE");
    }
    if (api_open_blocking(c, &a, &why) < 0) {
        return api_fail(c, &why);
    }
    return files ? delete_files(c, a) : delete_named(c, a);
}

static const struct arg_option own[] = {
    {"filename", 'f', ARG_LIST, "FILE", NULL, "delete what this manifest would make"},
    {"namespace", 'n', ARG_TEXT, "NAMESPACE", NULL, "where it is; otherwise the context's"},
    {"ignore-not-found", 0, ARG_FLAG, NULL, NULL, "what is not there counts as deleted"},
    {0}};
static const struct arg_option *const tables[] = {
    own, options_result, options_kube, options_timeout, options_common, NULL};

const struct command cmd_delete = {
    .name = "delete",
    .operands = "[KIND NAME...]",
    .summary = "delete objects of the API",
    .about =
        "Deleting a policy takes effect on connections that are open, too. Deleting the pod of "
        "a workload that `ambit run` started ends it, as `ambit stop` does. Exit status 1 when one "
        "is not there.",
    .examples = "ambit delete authorizationpolicy deny-all -n shop\tone policy\n"
                "ambit delete -f shop.yaml --ignore-not-found\tall that a manifest made",
    .tables = tables,
    .operands_max = OPERANDS_ANY,
    .run = run};
