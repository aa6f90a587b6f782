/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "cli/commands.h"
#include "cli/node_ask.h"
#include "cli/node_where.h"
#include "cli/runtime_client.h"
#include "codec/json.h"

/* 1: it was there and is gone; 0: this node does not know it. */
static int stop_at(struct cli *c, const struct node_where *n, const char *namespace,
                   const char *name, struct diag *why)
{
    AUTO(json) struct json *answer = NULL;
    struct json *request = json_new_object();

    json_set_str(request, "op", "stop");
    json_set_str(request, "namespace", namespace);
    json_set_str(request, "name", name);
    int r = runtime_ask_blocking(n->runtime, request, args_ms(&c->args, "wait"), &answer, why);
    return r == -ERR_NOT_FOUND ? 0 : r < 0 ? r : 1;
}

static enum answer stop_one(struct cli *c, const struct nodes *nodes, const char *word)
{
    const char *slash = strchr(word, '/');
    AUTO(strbuf) struct strbuf namespace = {0};
    struct diag why = {0};
    int r = 0;

    strbuf_add(&namespace, word, slash ? (size_t)(slash - word) : 0);
    const char *ns = slash ? strbuf_text(&namespace) : args_text(&c->args, "namespace");
    const char *name = slash ? slash + 1 : word;
    if (!*ns || !*name) {
        return cli_fail(c, ANSWER_USAGE, "ambit ps", "%s: write NAME or NAMESPACE/NAME", word);
    }
    unsigned i = 0;
    while (i < nodes->count && (r = stop_at(c, &nodes->at[i], ns, name, &why)) == 0) {
        i++;
    }
    if (r < 0) {
        json_set_str(cli_did(c, ns, name, "failed"), "error", why.text);
        return cli_fail(c, cli_answer_of(r),
                        cli_fix(c, r, r == -ENOENT || r == -ECONNREFUSED ? "ambit up" : "ambit ps"),
                        "node %s: %s", nodes->at[i].name, why.text);
    }
    if (r == 0) {
        (void)cli_did(c, ns, name, "absent");
        return cli_fail(c, ANSWER_NO, "ambit ps", "no workload %s/%s runs here", ns, name);
    }
    (void)cli_did(c, ns, name, "stopped");
    cli_say(c, "%s/%s stopped", ns, name);
    return ANSWER_YES;
}

static enum answer run(struct cli *c)
{
    enum answer answer = ANSWER_YES;
    struct diag why = {0};
    struct nodes nodes;

    if (nodes_find_blocking(&c->args, &nodes, &why) < 0) {
        return nodes_fail(c, &why);
    }
    for (unsigned i = 0; i < c->args.operand_count; i++) {
        enum answer one = stop_one(c, &nodes, c->args.operands[i]);
        answer = one == ANSWER_YES ? answer : one;
    }
    nodes_fini(&nodes);
    return answer;
}

static const struct arg_option own[] = {
    {"namespace", 'n', ARG_TEXT, "NAMESPACE", "default", "of names without one"},
    {"wait", 'w', ARG_DURATION, "TIME", "60s", "give up on one after this long; it goes on ending"},
    {0}};
static const struct arg_option *const tables[] = {own, options_result, options_node, options_common,
                                                  NULL};

const struct command cmd_stop = {
    .name = "stop",
    .operands = "NAME...",
    .summary = "end workloads that `ambit run` started",
    .about = "Sends SIGTERM, then SIGKILL to what does not end, and waits until every trace is "
             "gone: process, network namespace, address, Pod object. A NAME is a workload or "
             "namespace/workload.",
    .examples = "ambit stop shop/cart\tend one",
    .tables = tables,
    .operands_min = 1,
    .operands_max = OPERANDS_ANY,
    .run = run};
