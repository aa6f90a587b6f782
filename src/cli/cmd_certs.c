/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "base/clock.h"
#include "cli/commands.h"
#include "cli/node_ask.h"
#include "cli/rows.h"
#include "cli/span.h"
#include "cli/view.h"
#include "codec/json.h"

static const struct row_column columns[] = {
    {"IDENTITY", "identity", CELL_TEXT, false},   {"KIND", "kind", CELL_TEXT, false},
    {"VERDICT", "verdict", CELL_VERDICT, false},  {"LEFT", "left_s", CELL_SPAN_S, false},
    {"NOT AFTER", "not_after", CELL_TEXT, false}, {"NODE", "node", CELL_TEXT, false},
    {"STATE", "state", CELL_TEXT, false},         {"NOT BEFORE", "not_before", CELL_TEXT, true},
    {"SERIAL", "serial", CELL_TEXT, true},        {0}};

struct tally {
    unsigned bad;
    unsigned near_end;
    int64_t least_s; /* negative: none */
};

static struct tally tally_of(const struct json *rows)
{
    struct tally t = {.least_s = -1};

    for (size_t i = 0; i < json_count(rows); i++) {
        const struct json *row = json_item(rows, i);
        const char *verdict = json_str_at(row, "verdict", "");
        int64_t left = json_int_at(row, "left_s", -1);
        t.bad += strcmp(verdict, "expired") == 0 || strcmp(verdict, "missing") == 0;
        t.near_end += strcmp(verdict, "near its end") == 0;
        if (left >= 0 && (t.least_s < 0 || left < t.least_s)) {
            t.least_s = left;
        }
    }
    return t;
}

static void summarize(const struct tally *t, size_t count, bool named, struct strbuf *out)
{
    if (t->bad > 0) {
        strbuf_printf(out, "PROBLEM A401: %u of %zu certificates missing or expired", t->bad,
                      count);
    } else if (t->near_end > 0) {
        strbuf_printf(out, "WARNING A402: %u of %zu certificates near their end", t->near_end,
                      count);
    } else if (count == 0) {
        strbuf_puts(out, named ? "NO: none is held by that name" : "OK: no certificates are held");
    } else {
        strbuf_printf(out, "OK: %zu certificate%s, all valid", count, span_plural(count));
    }
    if (t->least_s >= 0) {
        strbuf_puts(out, "; the next one ends in ");
        span_print(t->least_s, out);
    }
}

static enum answer run(struct cli *c)
{
    static const char *const order[] = {"identity", "node", NULL};
    AUTO(json) struct json *pages = NULL;
    AUTO(json) struct json *rows = json_new_array();
    AUTO(strbuf) struct strbuf verdict = {0};
    enum answer answer = nodes_page_blocking(c, "/config_dump", &pages);
    struct json_iter it = {0};

    while (json_each(pages, &it)) {
        view_certs(it.value, it.key, clock_wall_s(), rows);
    }
    if (json_count(pages) == 0) {
        return answer;
    }
    AUTO(json) struct json *sorted = rows_sorted(rows, order);
    struct view_filter f = view_filter_of(c);
    AUTO(json) struct json *kept = view_filtered(sorted, &f);
    struct tally t = tally_of(kept);
    summarize(&t, json_count(kept), f.name_count > 0, &verdict);
    node_rows_show(c, strbuf_text(&verdict), kept, columns);
    return t.bad > 0 ? ANSWER_NO : node_rows_found(c, kept, answer);
}

static const struct arg_option *const tables[] = {options_filter, options_output, options_node,
                                                  options_proxy,  options_common, NULL};

const struct command cmd_certs = {
    .name = "certs",
    .operands = "[IDENTITY...]",
    .summary = "certificates that the node proxies hold, and how long they last",
    .about = "Each identity has a leaf, the intermediates above it and the roots it trusts. The "
             "first line is the verdict: exit status 0 when all are valid, 1 when one is missing "
             "or has expired, or nobody has the IDENTITY. A certificate is renewed at half of its "
             "life; one with less than a "
             "fifth left is near its end.",
    .examples = "ambit certs\tare all certificates in order?\n"
                "ambit certs -o wide\twith serial numbers, as the CA logs them",
    .tables = tables,
    .operands_max = OPERANDS_ANY,
    .run = run};
