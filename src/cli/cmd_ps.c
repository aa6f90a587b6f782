/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/commands.h"
#include "cli/node_ask.h"
#include "cli/node_where.h"
#include "cli/rows.h"
#include "cli/runtime_client.h"
#include "cli/span.h"
#include "codec/json.h"

static const struct row_column columns[] = {{"NAMESPACE", "namespace", CELL_TEXT, false},
                                            {"NAME", "name", CELL_TEXT, false},
                                            {"STATE", "state", CELL_VERDICT, false},
                                            {"MESH", "mesh", CELL_VERDICT, false},
                                            {"ADDRESSES", "ips", CELL_TEXT, false},
                                            {"ACCOUNT", "serviceAccount", CELL_TEXT, false},
                                            {"PID", "pid", CELL_TEXT, false},
                                            {"NODE", "node", CELL_TEXT, false},
                                            {"TROUBLE", "trouble", CELL_TEXT, false},
                                            {"USER", "user", CELL_TEXT, true},
                                            {"RESTARTS", "restarts", CELL_TEXT, true},
                                            {"STEP", "step", CELL_TEXT, true},
                                            {"COMMAND", "command", CELL_COMMAND, true},
                                            {"LOG", "log", CELL_TEXT, true},
                                            {0}};

static int ask(struct cli *c, const struct node_where *n, struct json *rows, struct diag *why)
{
    AUTO(json) struct json *answer = NULL;
    struct json *request = json_new_object();

    json_set_str(request, "op", "ps");
    int r = runtime_ask_blocking(n->runtime, request, args_ms(&c->args, "timeout"), &answer, why);
    const struct json *all = json_get(answer, "workloads");
    for (size_t i = 0; i < json_count(all); i++) {
        struct json *row = json_clone(json_item(all, i));
        json_set_str(row, "node", n->name);
        if (json_get(row, "waypoint")) { /* it speaks HBONE itself */
            json_set_str(row, "mesh", "waypoint");
        }
        json_append(rows, row);
    }
    return r;
}

static enum answer ask_all(struct cli *c, struct nodes *nodes, struct json *rows)
{
    enum answer answer = ANSWER_YES;
    struct diag why = {0};

    for (unsigned i = 0; i < nodes->count; i++) {
        if (ask(c, &nodes->at[i], rows, &why) < 0) {
            answer = cli_fail(c, ANSWER_UNKNOWN, cli_fix(c, why.code, "ambit up"), "node %s: %s",
                              nodes->at[i].name, why.text);
        }
    }
    return answer;
}

static enum answer run(struct cli *c)
{
    static const char *const order[] = {"namespace", "name", "node", NULL};
    AUTO(json) struct json *rows = json_new_array();
    AUTO(strbuf) struct strbuf verdict = {0};
    struct diag why = {0};
    struct nodes nodes;

    if (nodes_find_blocking(&c->args, &nodes, &why) < 0) {
        return nodes_fail(c, &why);
    }
    unsigned asked = nodes.count;
    enum answer answer = ask_all(c, &nodes, rows);
    nodes_fini(&nodes);
    if (answer != ANSWER_YES && json_count(rows) == 0) {
        return answer;
    }
    AUTO(json) struct json *sorted = rows_sorted(rows, order);
    struct view_filter f = view_filter_of(c);
    AUTO(json) struct json *kept = view_filtered(sorted, &f);
    strbuf_printf(&verdict, "%zu workload%s on %u node%s", json_count(kept),
                  span_plural(json_count(kept)), asked, span_plural(asked));
    node_rows_show(c, strbuf_text(&verdict), kept, columns);
    return node_rows_found(c, kept, answer);
}

static const struct arg_option own[] = {
    {"timeout", 0, ARG_DURATION, "TIME", "5s", "give up on a node after this long"}, {0}};
static const struct arg_option *const tables[] = {own,          options_filter, options_output,
                                                  options_node, options_common, NULL};

const struct command cmd_ps = {
    .name = "ps",
    .operands = "[NAME...]",
    .summary = "workloads that `ambit run` started on the nodes of this machine",
    .about = "MESH says whether the workload's connections are carried: in, joining, leaving, out. "
             "TROUBLE is the reason when something does not work out. -o wide adds the command and "
             "the file that its output goes to. Exit status 1 when there is no NAME.",
    .examples = "ambit ps\tall of them\n"
                "ambit ps -n shop -o wide\twith commands and log files",
    .tables = tables,
    .operands_max = OPERANDS_ANY,
    .run = run};
