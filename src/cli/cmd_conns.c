/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "cli/commands.h"
#include "cli/kept.h"
#include "cli/node_ask.h"
#include "cli/rows.h"
#include "cli/span.h"
#include "cli/view.h"
#include "codec/json.h"

static const struct row_column columns[] = {
    {"SECURED", "secured", CELL_VERDICT, false},
    {"DIRECTION", "direction", CELL_TEXT, false},
    {"SOURCE", "source", CELL_TEXT, false},
    {"DESTINATION", "destination", CELL_TEXT, false},
    {"SERVICE", "service", CELL_TEXT, false},
    {"SENT", "to_server", CELL_BYTES, false},
    {"RECEIVED", "to_client", CELL_BYTES, false},
    {"AGE", "age_ms", CELL_SPAN_MS, false},
    {"NODE", "node", CELL_TEXT, false},
    {"NOTE", "note", CELL_TEXT, false},
    {"FROM", "source_address", CELL_TEXT, true},
    {"TO", "destination_address", CELL_TEXT, true},
    {"SOURCE IDENTITY", "source_identity", CELL_TEXT, true},
    {"DESTINATION IDENTITY", "destination_identity", CELL_TEXT, true},
    {0}};

static void summarize(const struct json *rows, struct strbuf *out)
{
    size_t plain = 0;

    for (size_t i = 0; i < json_count(rows); i++) {
        plain += strcmp(json_str_at(json_item(rows, i), "secured", ""), "PLAINTEXT") == 0;
    }
    if (json_count(rows) == 0) {
        strbuf_puts(out, "OK: no open connection");
    } else if (plain == 0) {
        strbuf_printf(out, "OK: %zu connection end%s, all mutual TLS", json_count(rows),
                      span_plural(json_count(rows)));
    } else {
        strbuf_printf(out, "WARNING A501: %zu of %zu connection end%s in plaintext", plain,
                      json_count(rows), span_plural(json_count(rows)));
    }
}

static enum answer run(struct cli *c)
{
    static const char *const order[] = {"secured", "source", "destination", "direction", NULL};
    AUTO(json) struct json *pages = NULL;
    AUTO(json) struct json *rows = json_new_array();
    AUTO(strbuf) struct strbuf verdict = {0};
    enum answer answer = nodes_page_blocking(c, "/access/open", &pages);
    struct json_iter it = {0};

    while (json_each(pages, &it)) {
        view_access(it.value, it.key, rows);
    }
    enum answer kept_answer = kept_of_nodes_blocking(c, rows);
    if (json_count(pages) == 0) {
        return answer;
    }
    AUTO(json) struct json *sorted = rows_sorted(rows, order);
    struct view_filter f = view_filter_of(c);
    f.direction = args_text(&c->args, "direction");
    f.only_plain = args_has(&c->args, "plain");
    AUTO(json) struct json *kept = view_filtered(sorted, &f);
    summarize(kept, &verdict);
    node_rows_show(c, strbuf_text(&verdict), kept, columns);
    return answer == ANSWER_YES ? kept_answer : answer;
}

static const struct arg_option own[] = {
    {"plain", 'p', ARG_FLAG, NULL, NULL, "only connections that run in plaintext"},
    {"direction", 'd', ARG_CHOICE, "inbound|outbound", NULL,
     "only what was opened in this direction"},
    {0}};
static const struct arg_option *const tables[] = {
    own, options_filter, options_output, options_node, options_proxy, options_common, NULL};

const struct command cmd_conns = {
    .name = "conns",
    .operands = "[NAME...]",
    .summary = "connections that are open now: who with whom, and how they are protected",
    .about =
        "SECURED comes first: mTLS, or PLAINTEXT. The node of the client reports a connection as "
        "outbound, the node of the server as inbound, so one between two nodes asked here is "
        "shown twice. Connections that were opened before their workload joined bypass the proxy "
        "and are kept as they are; of workloads that `ambit run` started they are listed with the "
        "note `older than the mesh`. A NAME is a workload, a service, an address or an identity.",
    .examples = "ambit conns\teverything that is open\n"
                "ambit conns --plain -n shop\twhat still runs in plaintext in namespace shop\n"
                "ambit conns cart -o wide\twho talks to cart, with addresses and identities",
    .tables = tables,
    .operands_max = OPERANDS_ANY,
    .run = run};
