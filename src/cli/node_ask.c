/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/node_ask.h"

#include <string.h>

#include "base/mem.h"
#include "cli/command.h"
#include "cli/http_get.h"
#include "cli/node_where.h"
#include "cli/rows.h"
#include "codec/json.h"

int node_page_blocking(const struct node_where *n, const char *path, uint64_t limit_ms,
                       struct json **out, struct diag *why)
{
    static const struct json_limits limits = {.bytes = HTTP_GET_BYTES_MAX};
    struct http_where where = {.netns = n->netns, .at = n->admin, .limit_ms = limit_ms};
    struct http_answer a;
    int r = http_get_blocking(&where, path, &a, why);

    if (r < 0) {
        return r;
    }
    if (a.status == 404) {
        r = FAIL(why, -ERR_UNSUPPORTED, "this node proxy has no page %s", path);
    } else if (a.status != 200) {
        r = FAIL(why, -ERR_HTTP_STATUS, "%s: status %u", path, a.status);
    } else {
        r = json_parse(out, a.body, a.len, &limits, why);
    }
    http_answer_fini(&a);
    return r;
}

int node_ready_blocking(const struct node_where *n, uint64_t limit_ms, char **out_text,
                        struct diag *why)
{
    struct http_where where = {.netns = n->netns, .at = n->readiness, .limit_ms = limit_ms};
    struct http_answer a;
    int r = http_get_blocking(&where, "/healthz/ready", &a, why);

    if (r < 0) {
        return r;
    }
    bool ready = a.status == 200;
    a.body[strcspn(a.body, "\r\n")] = '\0';
    *out_text = mem_strdup(a.body);
    http_answer_fini(&a);
    return ready;
}

enum answer nodes_fail(struct cli *c, const struct diag *why)
{
    bool of_netns = why->code != -ERR_SYNTAX && args_knows(&c->args, "netns") &&
                    args_has(&c->args, "netns"); /* nothing else of what was given is opened */

    return cli_fail(c, why->code == -ERR_SYNTAX ? ANSWER_USAGE : ANSWER_UNKNOWN,
                    cli_fix(c, why->code, of_netns ? "ip netns list" : NULL), "%s", why->text);
}

enum answer nodes_page_blocking(struct cli *c, const char *path, struct json **out)
{
    enum answer answer = ANSWER_YES;
    struct diag why = {0};
    struct nodes nodes;

    *out = json_new_object();
    if (nodes_find_blocking(&c->args, &nodes, &why) < 0) {
        return nodes_fail(c, &why);
    }
    for (unsigned i = 0; i < nodes.count; i++) {
        struct json *page = NULL;
        struct progress p;
        progress_begin(&p, &c->term, nodes.at[i].name);
        int r = node_page_blocking(&nodes.at[i], path, args_ms(&c->args, "timeout"), &page, &why);
        progress_end(&p);
        if (r < 0) {
            answer = cli_fail(c, ANSWER_UNKNOWN, cli_fix(c, r, "ambit status"), "node %s: %s",
                              nodes.at[i].name, why.text);
        } else {
            json_set(*out, nodes.at[i].name, page);
        }
    }
    nodes_fini(&nodes);
    return answer;
}

enum answer node_rows_found(struct cli *c, const struct json *rows, enum answer answer)
{
    AUTO(strbuf) struct strbuf fix = {0};

    if (answer != ANSWER_YES || c->args.operand_count == 0 || json_count(rows) > 0) {
        return answer;
    }
    strbuf_printf(&fix, "ambit %s", c->command->name);
    return cli_fail(c, ANSWER_NO, strbuf_text(&fix), "nothing of the name %s is known here",
                    c->args.operands[0]);
}

void node_rows_show(struct cli *c, const char *verdict, const struct json *rows,
                    const struct row_column *columns)
{
    AUTO(strbuf) struct strbuf b = {0};

    if (cli_wants_json(c)) {
        struct json *all = json_new_object();
        json_set_int(all, "version", 1);
        json_set_str(all, "verdict", verdict);
        json_set(all, "items", json_ref(rows));
        cli_print_json(c, all);
        return;
    }
    strbuf_printf(&b, "%s\n", verdict);
    if (json_count(rows) > 0) {
        strbuf_putc(&b, '\n');
        rows_print(rows, columns, strcmp(args_text(&c->args, "output"), "wide") == 0,
                   c->term.out_colour, &b);
    }
    term_out(&c->term, &b);
}
