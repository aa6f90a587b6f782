/* SPDX-License-Identifier: Apache-2.0 */
/* What went on lately, from nodes and waypoints alike: connections and requests, one line each. */

#include "cli/commands.h"
#include "cli/flow_view.h"
#include "cli/log_tail.h"
#include "cli/node_ask.h"
#include "cli/view.h"
#include "cli/waypoint_ask.h"
#include "codec/json.h"

/* Requests, and connections of ports that are not HTTP. */
static int ask_place(struct cli *c, const struct waypoint_place *p, struct log_tail *tail,
                     struct json *rows, struct diag *why)
{
    AUTO(json) struct json *requests = NULL;
    AUTO(json) struct json *connections = NULL;
    AUTO(strbuf) struct strbuf key = {0};
    uint64_t limit_ms = args_ms(&c->args, "timeout");
    int r = node_page_blocking(&p->where, "/requests/recent", limit_ms, &requests, why);

    if (r == 0) {
        r = node_page_blocking(&p->where, "/access/recent", limit_ms, &connections, why);
    }
    if (r < 0) {
        return r;
    }
    strbuf_printf(&key, "%s/requests", p->pod);
    AUTO(json) struct json *fresh = log_tail_take(tail, strbuf_text(&key), requests);
    flow_view_requests(fresh, p->pod, rows);
    if (!args_has(&c->args, "requests")) {
        AUTO(json) struct json *ended = log_tail_take(tail, p->pod, connections);
        view_access(ended, p->pod, rows);
    }
    return 0;
}

static bool is_permission(int r)
{
    return r == -EACCES || r == -EPERM;
}

/* The agent's socket and the network namespaces of replicas are root's. */
static enum answer not_root(struct cli *c)
{
    return cli_fail(c, ANSWER_UNKNOWN, "sudo ambit flows",
                    "requests are kept by the waypoints' replicas, and of those that run here only "
                    "root may ask; --connections asks the node proxies alone");
}

static enum answer ask_places(struct cli *c, const struct waypoint_places *places,
                              struct log_tail *tail, struct json *rows)
{
    enum answer answer = ANSWER_YES;
    struct diag why = {0};

    if (is_permission(places->trouble)) {
        return not_root(c);
    }
    if (places->count == 0 && args_has(&c->args, "requests")) {
        return cli_fail(c, ANSWER_UNKNOWN, "ambit waypoint status -A",
                        "requests are kept by the waypoints' replicas and asked for on their node; "
                        "none runs on this one");
    }
    for (unsigned i = 0; i < places->count; i++) {
        int r = ask_place(c, &places->at[i], tail, rows, &why);
        if (is_permission(r)) {
            return not_root(c);
        }
        if (r < 0) {
            answer = cli_fail(c, ANSWER_UNKNOWN, "ambit waypoint status -A", "waypoint %s: %s",
                              places->at[i].pod, why.text);
        }
    }
    return answer;
}

static enum answer ask_waypoints(struct cli *c, struct log_tail *tail, struct json *rows)
{
    struct waypoint_places places;
    struct diag why = {0};

    if (waypoints_find_blocking(c, NULL, NULL, &places, &why) < 0) {
        return nodes_fail(c, &why);
    }
    enum answer answer = ask_places(c, &places, tail, rows);
    waypoint_places_fini(&places);
    return answer;
}

static enum answer show(struct cli *c, struct log_tail *tail)
{
    AUTO(json) struct json *rows = json_new_array();
    enum answer nodes =
        args_has(&c->args, "requests") ? ANSWER_YES : log_tail_nodes_blocking(tail, c, rows);
    enum answer waypoints =
        args_has(&c->args, "connections") ? ANSWER_YES : ask_waypoints(c, tail, rows);
    struct view_filter f = view_filter_of(c);

    f.only_denied = args_has(&c->args, "denied");
    print_records(c, rows, &f, flow_view_line);
    return nodes != ANSWER_YES ? nodes : waypoints;
}

static enum answer run(struct cli *c)
{
    if (args_has(&c->args, "requests") && args_has(&c->args, "connections")) {
        return cli_fail(c, ANSWER_USAGE, "leave both away",
                        "--requests and --connections exclude each other");
    }
    return log_follow_blocking(c, show);
}

static const struct arg_option own[] = {
    {"follow", 'f', ARG_FLAG, NULL, NULL, "go on and show what comes"},
    {"last", 0, ARG_NUMBER, "N", NULL, "only the newest N of those there are"},
    {"denied", 0, ARG_FLAG, NULL, NULL, "only what a policy denied"},
    {"requests", 0, ARG_FLAG, NULL, NULL, "only requests, which waypoints have seen"},
    {"connections", 0, ARG_FLAG, NULL, NULL, "only connections, which node proxies have carried"},
    {0}};
static const struct arg_option *const tables[] = {
    own,          options_waypoint, options_filter, options_output,
    options_node, options_proxy,    options_common, NULL};

const struct command cmd_flows = {
    .name = "flows",
    .operands = "[NAME...]",
    .summary = "who talked to whom lately: connections and requests",
    .about =
        "Node proxies and waypoints keep the newest few hundred records in memory; this asks them "
        "directly, so it works without the control plane. A line reads: time, where it was seen, "
        "verdict (ok, DENIED, FAILED), L4 or L7, who to whom, and what: bytes and duration of a "
        "connection, or method, path, status and route of a request. With -o json there is one "
        "object a line. A NAME is a workload, a service, an address or an identity. What waypoints "
        "of this machine have seen only root is told: exit status 3, after what the node proxies "
        "say. Through a tunnel such as `kubectl port-forward -n shop pod/REPLICA 15000` any "
        "waypoint may be asked (--waypoint-admin).",
    .examples = "ambit flows cart\twhat came to cart and went from it\n"
                "ambit flows -f --denied\twatch policies deny, at both layers\n"
                "ambit flows -n shop --requests --last 20 -o json\tfor programs",
    .tables = tables,
    .operands_max = OPERANDS_ANY,
    .streams = true,
    .run = run};
