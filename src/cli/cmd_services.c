/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/commands.h"
#include "cli/node_ask.h"
#include "cli/rows.h"
#include "cli/span.h"
#include "cli/view.h"
#include "codec/json.h"

static const struct row_column columns[] = {
    {"NAMESPACE", "namespace", CELL_TEXT, false}, {"NAME", "name", CELL_TEXT, false},
    {"ADDRESSES", "vips", CELL_TEXT, false},      {"PORTS", "ports", CELL_TEXT, false},
    {"ENDPOINTS", "endpoints", CELL_TEXT, false}, {"WAYPOINT", "waypoint", CELL_TEXT, false},
    {"HOSTNAME", "hostname", CELL_TEXT, true},    {0}};

static enum answer run(struct cli *c)
{
    static const char *const order[] = {"namespace", "name", NULL};
    AUTO(json) struct json *pages = NULL;
    AUTO(json) struct json *by_host = json_new_object();
    AUTO(strbuf) struct strbuf verdict = {0};
    enum answer answer = nodes_page_blocking(c, "/config_dump", &pages);
    struct json_iter it = {0};

    while (json_each(pages, &it)) {
        view_services(it.value, by_host);
    }
    if (json_count(pages) == 0) {
        return answer;
    }
    AUTO(json) struct json *rows = rows_values(by_host);
    AUTO(json) struct json *sorted = rows_sorted(rows, order);
    struct view_filter f = view_filter_of(c);
    AUTO(json) struct json *kept = view_filtered(sorted, &f);
    strbuf_printf(&verdict, "%zu service%s known", json_count(kept), span_plural(json_count(kept)));
    node_rows_show(c, strbuf_text(&verdict), kept, columns);
    return node_rows_found(c, kept, answer);
}

static const struct arg_option *const tables[] = {options_filter, options_output, options_node,
                                                  options_proxy,  options_common, NULL};

const struct command cmd_services = {
    .name = "services",
    .operands = "[NAME...]",
    .summary = "services as the node proxies know them",
    .about = "Shows the addresses that clients use and what stands behind them. PORTS reads "
             "`port->target`; ENDPOINTS reads healthy/all. A NAME is a service, namespace/service, "
             "a host name or an address; exit status 1 when there is none of it.",
    .examples = "ambit services -n shop\tservices of one namespace\n"
                "ambit services 10.96.0.10\twhose address is this?",
    .tables = tables,
    .operands_max = OPERANDS_ANY,
    .run = run};
