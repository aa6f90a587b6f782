/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "cli/commands.h"
#include "codec/json.h"

static enum answer run(struct cli *c)
{
    AUTO(strbuf) struct strbuf b = {0};

    if (cli_wants_json(c)) {
        struct json *j = json_new_object();
        json_set_str(j, "version", AMBIT_VERSION);
        cli_print_json(c, j);
        return ANSWER_YES;
    }
    strbuf_puts(&b, "ambit " AMBIT_VERSION "\n");
    term_out(&c->term, &b);
    return ANSWER_YES;
}

static const struct arg_option *const tables[] = {options_output, options_common, NULL};

const struct command cmd_version = {
    .name = "version",
    .operands = "",
    .summary = "the version of this program",
    .about = "What the node proxies run is in `ambit status -o json`.",
    .examples = "ambit version\tas text\nambit version -o json\tfor programs",
    .tables = tables,
    .run = run};
