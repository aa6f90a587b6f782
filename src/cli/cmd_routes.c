/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "base/mem.h"
#include "cli/commands.h"
#include "cli/node_ask.h"
#include "cli/route_view.h"
#include "cli/rows.h"
#include "cli/waypoint_ask.h"
#include "codec/json.h"

static const struct row_column columns[] = {{"SERVICE", "service", CELL_TEXT, true},
                                            {"PORT", "port", CELL_TEXT, false},
                                            {"PROTOCOL", "protocol", CELL_TEXT, true},
                                            {"MATCH", "match", CELL_TEXT, false},
                                            {"BACKENDS", "backends", CELL_TEXT, false},
                                            {"ROUTE", "route", CELL_TEXT, false},
                                            {"RULE", "rule", CELL_TEXT, true},
                                            {"FILTERS", "filters", CELL_TEXT, false},
                                            {"TIMEOUT", "timeout_ms", CELL_SPAN_MS, false},
                                            {"RETRIES", "retries", CELL_TEXT, true},
                                            {"STATE", "state", CELL_TEXT, false},
                                            {"KIND", "kind", CELL_TEXT, true},
                                            {0}};

struct found {
    struct json *rows;
    struct strbuf policies;
    struct json *tables; /* of each waypoint: what it said of the service, to compare replicas */
    bool differ;
};

static bool is_wanted(const struct cli *c, const struct json *service)
{
    const char *ns = args_text(&c->args, "namespace");
    const char *key = json_str_at(service, "service", "");

    if (!json_bool_at(service, "served", false)) {
        return false;
    }
    if (c->args.operand_count > 0) {
        return route_view_is_named(key, c->args.operands[0], ns);
    }
    return !ns || (strncmp(key, ns, strlen(ns)) == 0 && key[strlen(ns)] == '/');
}

/* Replicas of one waypoint say the same, so the first one's rows are shown. */
static void take_service(const struct waypoint_place *p, const struct json *service,
                         struct found *f)
{
    AUTO(strbuf) struct strbuf key = {0};
    AUTO(strbuf) struct strbuf waypoint = {0};

    strbuf_printf(&waypoint, "%s/%s", p->ns, p->gateway);
    strbuf_printf(&key, "%s %s", strbuf_text(&waypoint), json_str_at(service, "service", ""));
    const struct json *before = json_get(f->tables, strbuf_text(&key));
    if (before) {
        f->differ = f->differ || !json_same(before, service);
        return;
    }
    json_set(f->tables, strbuf_text(&key), json_ref(service));
    route_view_service(service, strbuf_text(&waypoint), f->rows);
    route_view_policies(service, &f->policies);
}

static enum answer ask_all(struct cli *c, const struct waypoint_places *places, struct found *f)
{
    enum answer answer = ANSWER_YES;
    struct diag why = {0};

    for (unsigned i = 0; i < places->count; i++) {
        AUTO(json) struct json *dump = NULL;
        if (node_page_blocking(&places->at[i].where, "/config_dump", args_ms(&c->args, "timeout"),
                               &dump, &why) < 0) {
            answer = cli_fail(c, ANSWER_UNKNOWN, "ambit waypoint status -A", "waypoint %s: %s",
                              places->at[i].pod, why.text);
            continue;
        }
        const struct json *all = json_get(dump, "bound");
        for (size_t k = 0; k < json_count(all); k++) {
            if (is_wanted(c, json_item(all, k))) {
                take_service(&places->at[i], json_item(all, k), f);
            }
        }
    }
    return answer;
}

static void show(struct cli *c, const struct found *f)
{
    AUTO(strbuf) struct strbuf verdict = {0};

    route_view_verdict(f->rows, &verdict);
    node_rows_show(c, strbuf_text(&verdict), f->rows, columns);
    if (!cli_wants_json(c) && f->policies.len > 0) {
        AUTO(strbuf) struct strbuf b = {0};
        strbuf_printf(&b, "policies:\n%s", f->policies.p);
        term_out(&c->term, &b);
    }
    if (f->differ) {
        (void)cli_fail(c, ANSWER_YES, NULL, "replicas do not say the same yet; the first is shown");
    }
}

static enum answer none(struct cli *c, const struct waypoint_places *places)
{
    const char *word = c->args.operand_count > 0 ? c->args.operands[0] : "anything";

    if (places->count == 0) {
        return cli_fail(c, ANSWER_UNKNOWN, "ambit waypoint status -A",
                        "no replica of a waypoint runs on this machine, so none can be asked");
    }
    return cli_fail(c, ANSWER_NO,
                    "ambit label svc NAME -n NAMESPACE istio.io/use-waypoint=WAYPOINT",
                    "no waypoint that runs here serves %s: its traffic is layer 4", word);
}

static enum answer run(struct cli *c)
{
    struct found f = {.rows = json_new_array(), .tables = json_new_object()};
    struct waypoint_places places;
    struct diag why = {0};
    enum answer answer;

    if (waypoints_find_blocking(c, NULL, NULL, &places, &why) < 0) {
        answer = cli_fail(c, why.code == -ERR_SYNTAX ? ANSWER_USAGE : ANSWER_UNKNOWN, NULL, "%s",
                          why.text);
    } else {
        answer = ask_all(c, &places, &f);
        if (json_count(f.rows) > 0) {
            show(c, &f);
        } else if (answer == ANSWER_YES) {
            answer = none(c, &places);
        }
        waypoint_places_fini(&places);
    }
    json_unref(f.rows);
    json_unref(f.tables);
    strbuf_fini(&f.policies);
    return answer;
}

static const struct arg_option own[] = {
    {"timeout", 0, ARG_DURATION, "TIME", "5s", "give up on a node or a waypoint after this long"},
    {0}};
static const struct arg_option *const tables[] = {
    own, options_waypoint, options_filter, options_output, options_node, options_common, NULL};

const struct command cmd_routes = {
    .name = "routes",
    .operands = "[SERVICE]",
    .summary = "routes of a service as its waypoint has compiled them",
    .about =
        "The waypoint itself is asked, so this is what happens, not what was wished. The first "
        "match "
        "from the top counts. `/a/...` is a prefix, `~` a regular expression, `x-user=jane` a "
        "header, "
        "`?debug=1` a query parameter. A port without routes goes straight to the endpoints. Exit "
        "status 1 when no waypoint serves it, 3 when none could be asked.",
    .examples = "ambit routes shop/cart\tin which order are they tried, and where do they lead?\n"
                "ambit routes -n shop -o wide\tall of a namespace\n"
                "ambit routes cart --waypoint-admin 127.0.0.1:15000\ta waypoint elsewhere, through "
                "a tunnel",
    .tables = tables,
    .operands_max = 1,
    .run = run};
