/* SPDX-License-Identifier: Apache-2.0 */
/* `ambit why` and `ambit can`: the same question, answered at length or in one line. */
#include <string.h>

#include "cli/commands.h"
#include "cli/fix.h"
#include "cli/node_where.h"
#include "cli/request_words.h"
#include "cli/waypoint_ask.h"
#include "cli/why_ask.h"
#include "cli/why_judge.h"
#include "codec/json.h"

static void print_json(struct cli *c, const struct why_case *q, const struct why_result *r)
{
    struct json *o = json_new_object();

    json_set_int(o, "version", 1);
    json_set_str(o, "verdict", why_verdict_name(r->verdict));
    json_set_str(o, "text", strbuf_text(&r->text));
    json_set_str(o, "by", strbuf_text(&r->by));
    json_set_str(o, "fix", strbuf_text(&r->fix));
    json_set(o, "layer4", json_clone(q->l4));
    json_set(o, "layer7", q->l7 ? json_clone(q->l7) : json_new_null());
    json_set_str(o, "layer4Source", *q->l4_source ? q->l4_source : "asked");
    json_set_str(o, "layer7Source", !q->l7 ? "" : *q->l7_source ? q->l7_source : "asked");
    cli_print_json(c, o);
}

static void print(struct cli *c, const struct why_case *q, const struct why_result *r, bool brief)
{
    AUTO(strbuf) struct strbuf b = {0};

    if (cli_wants_json(c)) {
        print_json(c, q, r);
        return;
    }
    style_put(&b, c->term.out_colour, r->verdict == WHY_ALLOWED ? STYLE_GOOD : STYLE_BAD,
              strbuf_text(&r->text));
    strbuf_putc(&b, '\n');
    if (!brief) {
        why_evidence(q, &b);
        strbuf_add(&b, r->notes.p, r->notes.len);
        if (r->fix.len > 0) {
            strbuf_printf(&b, "  fix: %s\n", strbuf_text(&r->fix));
        }
    }
    term_out(&c->term, &b);
}

/* Who may not ask is helped by root alone. */
static void put_fix(struct cli *c, const struct why_asked *asked, struct why_result *r)
{
    AUTO(strbuf) struct strbuf fix = {0};
    const char *best = r->verdict == WHY_UNKNOWN ? cli_fix(c, asked->l7_code, NULL) : NULL;

    if (best || r->fix.len > 0) {
        fix_here(c, best ? best : strbuf_text(&r->fix), &fix);
        strbuf_clear(&r->fix);
        strbuf_puts(&r->fix, strbuf_text(&fix));
    }
}

static enum answer conclude(struct cli *c, const struct why_asked *asked, bool brief)
{
    const char *error = json_str_at(asked->l7, "error", "");
    struct why_result result;
    struct why_case q = {.l4 = asked->l4,
                         .l7 = *error ? NULL : asked->l7,
                         .l7_trouble = *error ? error : strbuf_text(&asked->l7_trouble),
                         .l4_source = strbuf_text(&asked->l4_source),
                         .l7_source = strbuf_text(&asked->l7_source),
                         .asks_l7 = request_words_any(&c->args)};

    why_judge(&q, &result);
    put_fix(c, asked, &result);
    print(c, &q, &result, brief);
    enum answer a = why_answer_of(result.verdict);
    why_result_fini(&result);
    return a;
}

static enum answer answer(struct cli *c, const char *request, struct why_asked *asked, bool brief)
{
    int r = why_ask_blocking(c, request, asked);
    const char *error = json_str_at(asked->l4, "error", "");

    if (r < 0) {
        const char *fix = r == -ERR_UNSUPPORTED
                              ? "kubectl port-forward -n istio-system pod/ZTUNNEL 15000 & "
                                "ambit why FROM TO --node-admin 127.0.0.1:15000"
                              : "ambit status";
        return cli_fail(c, r == -ERR_SYNTAX ? ANSWER_USAGE : ANSWER_UNKNOWN, fix, "%s",
                        strbuf_text(&asked->l4_trouble));
    }
    return *error ? cli_fail(c, ANSWER_UNKNOWN,
                             strstr(error, "service") ? "ambit services" : "ambit workloads", "%s",
                             error)
                  : conclude(c, asked, brief);
}

static enum answer run(struct cli *c, bool brief)
{
    AUTO(strbuf) struct strbuf request = {0};
    struct why_asked asked;
    struct diag why = {0};

    if (why_check_target(c->args.operands[1], &why) < 0 ||
        request_words_blocking(&c->args, &request, &why) < 0) {
        return cli_fail(c, ANSWER_USAGE, "ambit help why", "%s", why.text);
    }
    enum answer a = answer(c, strbuf_text(&request), &asked, brief);
    why_asked_fini(&asked);
    return a;
}

static enum answer run_why(struct cli *c)
{
    return run(c, false);
}

static enum answer run_can(struct cli *c)
{
    return run(c, true);
}

static const struct arg_option own[] = {
    {"namespace", 'n', ARG_TEXT, "NAMESPACE", NULL, "of names without one; otherwise FROM's"}, {0}};
static const struct arg_option *const tables[] = {
    own,          options_request, options_waypoint, options_output,
    options_node, options_proxy,   options_kube,     options_common,
    NULL};

const struct command cmd_why = {
    .name = "why",
    .operands = "FROM TO[:PORT]",
    .summary = "does FROM reach TO, who decides it, and what to do about it",
    .about =
        "The node proxy is asked, which decides with the same function; behind a waypoint that is "
        "asked, too, with method, path and headers, and verifies the token as it does for a "
        "request. Where one cannot be asked from here, its configuration is: what the control "
        "plane "
        "publishes, judged by the same functions; that takes an administrator's kubeconfig. The "
        "first line is the verdict; then what was looked at, policy by policy; then one command. "
        "FROM is a workload, an address or an identity (spiffe://...), TO a service, a workload or "
        "an address. Nothing is sent to TO. Exit status: 0 allowed, 1 denied, 3 cannot tell.",
    .examples = "ambit why shop/web shop/cart:80\twhich policy lets it through?\n"
                "ambit why shop/web cart.shop --method DELETE --path /items/7\tand this request?\n"
                "ambit why shop/web shop/cart --token ~/jane.jwt\tand with this token?\n"
                "ambit why spiffe://cluster.local/ns/x/sa/y shop/cart\tand somebody else?",
    .tables = tables,
    .operands_min = 2,
    .operands_max = 2,
    .run = run_why};

const struct command cmd_can = {
    .name = "can",
    .operands = "FROM TO[:PORT]",
    .summary = "does FROM reach TO? one line, and the exit status",
    .about =
        "As `ambit why`, for scripts: prints the verdict alone. Exit status: 0 allowed, 1 denied, "
        "3 cannot tell.",
    .examples = "ambit can shop/web shop/cart:80 && echo yes\tin a script",
    .tables = tables,
    .operands_min = 2,
    .operands_max = 2,
    .run = run_can};
