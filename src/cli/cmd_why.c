/* SPDX-License-Identifier: Apache-2.0 */
/* `ambit why` and `ambit can`: the same question, answered at length or in one line. */
#include <string.h>

#include "base/num.h"
#include "cli/commands.h"
#include "cli/http_get.h"
#include "cli/node_ask.h"
#include "cli/node_where.h"
#include "cli/request_words.h"
#include "cli/waypoint_ask.h"
#include "cli/why_judge.h"
#include "codec/json.h"
#include "codec/url.h"

/* ---- asking */

/* The answer, also where it says that the question makes no sense; -ERR_UNSUPPORTED: no such page. */
static int ask_blocking(const struct node_where *n, const char *path, uint64_t limit_ms,
                        struct json **out, struct diag *why)
{
    struct http_where where = {.netns = n->netns, .at = n->admin, .limit_ms = limit_ms};
    struct http_answer a;
    int r = http_get_blocking(&where, path, &a, why);

    if (r < 0) {
        return r;
    }
    r = json_parse(out, a.body, a.len, NULL, why);
    if (r < 0 || (a.status != 200 && !*json_str_at(*out, "error", ""))) {
        r = FAIL(why, -ERR_UNSUPPORTED, "this program does not answer such questions (status %u)",
                 a.status);
    }
    http_answer_fini(&a);
    return r;
}

/* "shop/cart:80" is name and port; an IPv6 address with a port stands in brackets. */
static void add_target(const char *word, struct strbuf *path)
{
    const char *colon = strrchr(word, ':');
    struct endpoint e;
    uint32_t port;
    char text[IP_TEXT];

    if (endpoint_parse(&e, word, strlen(word)) == 0) {
        AUTO(strbuf) struct strbuf number = {0};
        strbuf_printf(&number, "%u", e.port);
        url_query_add(path, "to", ip_format(&e.ip, text));
        url_query_add(path, "port", strbuf_text(&number));
    } else if (colon && strchr(word, ':') == colon &&
               num_parse_u32(colon + 1, strlen(colon + 1), UINT16_MAX, &port) == 0) {
        AUTO(strbuf) struct strbuf name = {0};
        strbuf_add(&name, word, (size_t)(colon - word));
        url_query_add(path, "to", strbuf_text(&name));
        url_query_add(path, "port", colon + 1);
    } else {
        url_query_add(path, "to", word);
    }
}

static int ask_nodes_blocking(struct cli *c, const char *path, struct json **out, struct diag *why)
{
    struct nodes nodes;
    int r = nodes_find_blocking(&c->args, &nodes, why);

    if (r < 0) {
        return r;
    }
    r = FAIL(why, -ERR_NOT_FOUND, "no node could be asked");
    for (unsigned i = 0; r < 0 && i < nodes.count; i++) {
        r = ask_blocking(&nodes.at[i], path, args_ms(&c->args, "timeout"), out, why);
    }
    nodes_fini(&nodes);
    return r;
}

static int ask_l4(struct cli *c, struct json **out, struct diag *why)
{
    AUTO(strbuf) struct strbuf path = {0};
    const char *ns = args_text(&c->args, "namespace");

    strbuf_puts(&path, "/why?");
    url_query_add(&path, "from", c->args.operands[0]);
    add_target(c->args.operands[1], &path);
    if (ns) {
        url_query_add(&path, "ns", ns);
    }
    return ask_nodes_blocking(c, strbuf_text(&path), out, why);
}

static void add_number(struct strbuf *path, const char *name, int64_t n)
{
    AUTO(strbuf) struct strbuf text = {0};

    strbuf_printf(&text, "%lld", (long long)n);
    url_query_add(path, name, strbuf_text(&text));
}

/* What the waypoint is asked: the request as it would come to it. */
static void l7_path(const struct json *l4, const char *request, struct strbuf *path)
{
    AUTO(strbuf) struct strbuf to = {0};

    strbuf_printf(&to, "%s/%s", json_str_at(l4, "to.namespace", ""),
                  json_str_at(l4, "to.hostname", ""));
    strbuf_puts(path, "/why?");
    url_query_add(path, "to", strbuf_text(&to));
    add_number(path, "port", json_int_at(l4, "to.port", 0));
    url_query_add(path, "identity", json_str_at(l4, "from.identity", ""));
    url_query_add(path, "source_ip", json_str_at(l4, "from.address", ""));
    strbuf_printf(path, "%s%s", *request ? "&" : "", request);
}

/* The gateway's name out of "shop/way.shop.svc.cluster.local". */
static bool gateway_of(const char *waypoint, struct strbuf *ns, struct strbuf *name)
{
    struct slice head;
    struct slice tail;
    struct slice first;
    struct slice rest;

    if (!slice_cut(slice_of(waypoint), '/', &head, &tail)) {
        return false;
    }
    (void)slice_cut(tail, '.', &first, &rest); /* without a dot, the whole is the name */
    strbuf_add(ns, head.p, head.len);
    strbuf_add(name, first.p, first.len);
    return true;
}

static int ask_places(struct cli *c, const char *path, const struct waypoint_places *places,
                      struct json **out, struct diag *why)
{
    int r = FAIL(why, -ERR_NOT_FOUND, "none of its replicas runs on this machine");

    for (unsigned i = 0; r < 0 && i < places->count; i++) {
        r = ask_blocking(&places->at[i].where, path, args_ms(&c->args, "timeout"), out, why);
    }
    return r;
}

static int ask_l7(struct cli *c, const struct json *l4, const char *request, struct json **out,
                  struct diag *why)
{
    AUTO(strbuf) struct strbuf ns = {0};
    AUTO(strbuf) struct strbuf name = {0};
    AUTO(strbuf) struct strbuf path = {0};
    struct waypoint_places places;

    if (!gateway_of(json_str_at(l4, "to.waypoint", ""), &ns, &name) &&
        !args_has(&c->args, "waypoint-admin")) {
        return FAIL(why, -ERR_NOT_FOUND, "its name is not known");
    }
    int r = waypoints_find_blocking(c, strbuf_text(&ns), strbuf_text(&name), &places, why);
    if (r == 0) {
        l7_path(l4, request, &path);
        r = ask_places(c, strbuf_text(&path), &places, out, why);
        waypoint_places_fini(&places);
    }
    return r;
}

/* ---- answering */

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

static enum answer conclude(struct cli *c, const struct json *l4, const char *request, bool brief)
{
    AUTO(json) struct json *l7 = NULL;
    struct diag trouble = {0};
    struct why_result result;
    struct why_case q = {.l4 = l4, .asks_l7 = request_words_any(&c->args)};

    if (strcmp(json_str_at(l4, "route.kind", ""), "waypoint") == 0) {
        if (ask_l7(c, l4, request, &l7, &trouble) < 0) {
            q.l7_trouble = trouble.text;
        } else if (*json_str_at(l7, "error", "")) {
            q.l7_trouble = json_str_at(l7, "error", "");
        } else {
            q.l7 = l7;
        }
    }
    why_judge(&q, &result);
    print(c, &q, &result, brief);
    enum answer a = why_answer_of(result.verdict);
    why_result_fini(&result);
    return a;
}

static enum answer run(struct cli *c, bool brief)
{
    AUTO(json) struct json *l4 = NULL;
    AUTO(strbuf) struct strbuf request = {0};
    struct diag why = {0};

    if (request_words_blocking(&c->args, &request, &why) < 0) {
        return cli_fail(c, ANSWER_USAGE, "ambit help why", "%s", why.text);
    }
    if (ask_l4(c, &l4, &why) < 0) {
        return cli_fail(c, why.code == -ERR_SYNTAX ? ANSWER_USAGE : ANSWER_UNKNOWN, "ambit status",
                        "%s", why.text);
    }
    const char *error = json_str_at(l4, "error", "");
    if (*error) {
        return cli_fail(c, ANSWER_UNKNOWN, "ambit workloads, ambit services", "%s", error);
    }
    return conclude(c, l4, strbuf_text(&request), brief);
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
    options_node, options_proxy,   options_common,   NULL};

const struct command cmd_why = {
    .name = "why",
    .operands = "FROM TO[:PORT]",
    .summary = "does FROM reach TO, who decides it, and what to do about it",
    .about =
        "The node proxy is asked, which decides with the same function; behind a waypoint that is "
        "asked, too, with method, path and headers, and verifies the token as it does for a "
        "request. The first line is the verdict; then what was "
        "looked at, policy by policy; then one command. FROM is a workload, an address or an "
        "identity "
        "(spiffe://...), TO a service, a workload or an address. Nothing is sent to TO. Exit "
        "status: 0 "
        "allowed, 1 denied, 3 cannot tell.",
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
