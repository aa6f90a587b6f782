/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/commands.h"
#include "cli/node_ask.h"
#include "cli/rows.h"
#include "cli/span.h"
#include "cli/view.h"
#include "codec/json.h"

static const struct row_column columns[] = {
    {"NAMESPACE", "namespace", CELL_TEXT, false}, {"NAME", "name", CELL_TEXT, false},
    {"MESH", "mesh", CELL_VERDICT, false},        {"ADDRESSES", "ips", CELL_TEXT, false},
    {"NODE", "node", CELL_TEXT, false},           {"STATUS", "status", CELL_TEXT, false},
    {"PROTOCOL", "protocol", CELL_TEXT, false},   {"WAYPOINT", "waypoint", CELL_TEXT, false},
    {"IDENTITY", "identity", CELL_TEXT, true},    {"SERVICES", "services", CELL_TEXT, true},
    {"POLICIES", "policies", CELL_TEXT, true},    {0}};

static void summarize(const struct json *rows, struct strbuf *out)
{
    unsigned in = 0;
    unsigned pending = 0;

    for (size_t i = 0; i < json_count(rows); i++) {
        const char *mesh = json_str_at(json_item(rows, i), "mesh", "");
        in += slice_is(slice_of(mesh), "in");
        pending += slice_is(slice_of(mesh), "pending");
    }
    strbuf_printf(out, "%zu workload%s known, %u captured on the nodes asked", json_count(rows),
                  span_plural(json_count(rows)), in);
    if (pending > 0) {
        strbuf_printf(out, ", %u PENDING", pending);
    }
}

static enum answer run(struct cli *c)
{
    static const char *const order[] = {"namespace", "name", NULL};
    AUTO(json) struct json *pages = NULL;
    AUTO(json) struct json *by_uid = json_new_object();
    AUTO(strbuf) struct strbuf verdict = {0};
    enum answer answer = nodes_page_blocking(c, "/config_dump", &pages);
    struct json_iter it = {0};

    while (json_each(pages, &it)) {
        view_workloads(it.value, by_uid);
    }
    if (json_count(pages) == 0) {
        return answer;
    }
    AUTO(json) struct json *rows = rows_values(by_uid);
    AUTO(json) struct json *sorted = rows_sorted(rows, order);
    struct view_filter f = view_filter_of(c);
    AUTO(json) struct json *kept = view_filtered(sorted, &f);
    summarize(kept, &verdict);
    node_rows_show(c, strbuf_text(&verdict), kept, columns);
    return node_rows_found(c, kept, answer);
}

static const struct arg_option *const tables[] = {options_filter, options_output, options_node,
                                                  options_proxy,  options_common, NULL};

const struct command cmd_workloads = {
    .name = "workloads",
    .operands = "[NAME...]",
    .summary = "workloads as the node proxies know them",
    .about =
        "Shows who is where and in which way they are spoken to. MESH says `in` for workloads that "
        "a node asked here has captured, `pending` while it is still at it, `remote` for members "
        "on "
        "other nodes, `no` for everybody else. A NAME is a workload, namespace/workload, an "
        "address "
        "or an identity; exit status 1 when there is none of it.",
    .examples = "ambit workloads -n shop\twho is in the mesh in namespace shop\n"
                "ambit workloads 10.244.1.7\twhose address is this?\n"
                "ambit workloads -o json\tall that is known, for programs",
    .tables = tables,
    .operands_max = OPERANDS_ANY,
    .run = run};
