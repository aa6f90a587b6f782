/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "cli/commands.h"
#include "cli/log_tail.h"
#include "cli/span.h"
#include "cli/view.h"
#include "codec/json.h"

/* ---- one line */

static void put_verdict(struct strbuf *out, const struct json *row, bool colour)
{
    const char *verdict = json_str_at(row, "verdict", "");
    const char *secured = json_str_at(row, "secured", "");
    bool ok = strcmp(verdict, "ok") == 0;
    bool mtls = strcmp(secured, "mTLS") == 0;

    style_put(out, colour, ok ? STYLE_GOOD : STYLE_BAD, verdict);
    strbuf_printf(out, "%*s", (int)(8 - strlen(verdict)), "");
    style_put(out, colour, mtls ? STYLE_GOOD : STYLE_BAD, secured);
    strbuf_printf(out, "%*s", (int)(11 - strlen(secured)), "");
}

static void put_line(const struct json *row, bool colour, struct strbuf *out)
{
    AUTO(strbuf) struct strbuf line = {0};
    const char *service = json_str_at(row, "service", "");
    const char *error = json_str_at(row, "error", "");

    put_verdict(&line, row, colour);
    strbuf_printf(&line, "%s  ", json_str_at(row, "direction", ""));
    view_put_parties(row, &line);
    strbuf_printf(&line, "%s%s  ", *service ? " as " : "", service);
    span_bytes((uint64_t)json_int_at(row, "to_server", 0), &line);
    strbuf_puts(&line, " sent, ");
    span_bytes((uint64_t)json_int_at(row, "to_client", 0), &line);
    strbuf_printf(&line, " received, %.1f ms", (double)json_int_at(row, "duration_us", 0) / 1000);
    if (*error) {
        strbuf_printf(&line, "  %s: %s", json_str_at(row, "flags", ""), error);
    }
    strbuf_printf(out, "%s  %s  %s\n", json_str_at(row, "time", ""), json_str_at(row, "node", ""),
                  strbuf_text(&line));
}

/* ---- the command */

static enum answer show(struct cli *c, struct log_tail *tail)
{
    AUTO(json) struct json *rows = json_new_array();
    enum answer answer = log_tail_nodes_blocking(tail, c, rows);
    struct view_filter f = view_filter_of(c);

    f.only_denied = args_has(&c->args, "denied");
    f.only_plain = args_has(&c->args, "plain");
    print_records(c, rows, &f, put_line);
    return answer;
}

static enum answer run(struct cli *c)
{
    return log_follow_blocking(c, show);
}

static const struct arg_option own[] = {
    {"follow", 'f', ARG_FLAG, NULL, NULL, "go on and show records as connections end"},
    {"last", 0, ARG_NUMBER, "N", NULL, "only the newest N of those there are"},
    {"denied", 0, ARG_FLAG, NULL, NULL, "only connections that a policy denied"},
    {"plain", 'p', ARG_FLAG, NULL, NULL, "only connections that ran in plaintext"},
    {0}};
static const struct arg_option *const tables[] = {
    own, options_filter, options_output, options_node, options_proxy, options_common, NULL};

const struct command cmd_logs = {
    .name = "logs",
    .operands = "[NAME...]",
    .summary = "connections that have ended: how, between whom, how long, how much",
    .about =
        "Every connection leaves one record at each end that the mesh carries. Nodes keep the "
        "newest few hundred in memory; this asks the nodes themselves, so it works without the "
        "control plane. A line reads: time, node, verdict (ok, DENIED, FAILED), mTLS or PLAINTEXT, "
        "direction, who to whom, bytes, duration, and the reason if it failed. With -o json there "
        "is one object a line. A NAME is a workload, a service, an address or an identity.",
    .examples = "ambit logs cart\twhat cart did lately\n"
                "ambit logs -f --denied\twatch policies deny\n"
                "ambit logs -n shop --last 20 -o json\tfor programs",
    .tables = tables,
    .operands_max = OPERANDS_ANY,
    .streams = true,
    .run = run};
