/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "base/mem.h"
#include "cli/commands.h"
#include "codec/json.h"
#include "io/file.h"

static enum answer write_to(struct cli *c, const char *path, const char *text, size_t len)
{
    struct diag why = {0};

    if (file_write_blocking(path, text, len, 0600, &why) < 0) {
        return cli_fail(c, ANSWER_NO, NULL, "%s", why.text);
    }
    (void)cli_did(c, "", path, "written");
    cli_say(c, "written to %s; use it with: export KUBECONFIG=%s", path, path);
    return ANSWER_YES;
}

static void show_json(struct cli *c, const char *path, const char *text, size_t len)
{
    struct json *all = json_new_object();

    json_set_int(all, "version", 1);
    json_set_str(all, "verdict", "ok");
    json_set_str(all, "path", path);
    if (text) {
        json_set(all, "kubeconfig", json_new_strn(text, len));
    }
    cli_print_json(c, all);
}

static enum answer run(struct cli *c)
{
    AUTO(strbuf) struct strbuf path = {0};
    AUTO(strbuf) struct strbuf text = {0};
    struct diag why = {0};
    char *bytes;
    size_t len;

    strbuf_printf(&path, "%s/admin.kubeconfig", args_text(&c->args, "data"));
    int r = file_read_blocking(strbuf_text(&path), &bytes, &len, &why);
    if (r < 0) {
        return r == -ENOENT
                   ? cli_fail(c, ANSWER_NO, "ambit up", "there is no stand-alone mesh here: no %s",
                              strbuf_text(&path))
                   : cli_fail(c, ANSWER_UNKNOWN, cli_fix(c, r, NULL), "%s", why.text);
    }
    AUTO(text) char *owned = bytes;
    if (args_has(&c->args, "write")) {
        return write_to(c, args_text(&c->args, "write"), owned, len);
    }
    if (cli_wants_json(c)) {
        show_json(c, strbuf_text(&path), args_has(&c->args, "path") ? NULL : owned, len);
        return ANSWER_YES;
    }
    if (args_has(&c->args, "path")) {
        strbuf_printf(&text, "%s\n", strbuf_text(&path));
    } else {
        strbuf_add(&text, owned, len);
    }
    term_out(&c->term, &text);
    return ANSWER_YES;
}

static const struct arg_option own[] = {
    {"data", 0, ARG_TEXT, "DIR", "/var/lib/ambit", "data folder of the stand-alone control plane"},
    {"path", 0, ARG_FLAG, NULL, NULL, "print the name of the file instead"},
    {"write", 'w', ARG_TEXT, "FILE", NULL, "write it to a file that only its owner can read"},
    {0}};
static const struct arg_option *const tables[] = {own, options_result, options_common, NULL};

const struct command cmd_kubeconfig = {
    .name = "kubeconfig",
    .operands = "",
    .summary = "the administrator's credentials of the stand-alone API, for kubectl",
    .about = "Prints what `ambit up` made. Whoever has it rules the mesh: keep it as you keep a "
             "private key. Exit status 1 when there is no stand-alone mesh here.",
    .examples = "ambit kubeconfig -w ~/.kube/ambit\tfor kubectl --kubeconfig ~/.kube/ambit\n"
                "KUBECONFIG=$(ambit kubeconfig --path) kubectl get pods -A\tjust once",
    .tables = tables,
    .run = run};
