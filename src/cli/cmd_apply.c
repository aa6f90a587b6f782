/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "cli/api.h"
#include "cli/commands.h"
#include "cli/manifest.h"
#include "cli/manifest_check.h"
#include "cli/resource_kind.h"
#include "cli/run_spec.h"
#include "cli/span.h"
#include "codec/json.h"

struct target {
    const struct resource_kind *kind;
    struct kube_resource resource; /* in the version that the manifest is written in */
    const struct json *object;
    const char *ns; /* "" = the kind has none */
    const char *name;
};

/* ---- checking, before anything is sent */

static int check(const struct json *object, struct target *out, struct diag *why)
{
    int r = manifest_check_head(object, why);

    if (r < 0) {
        return r;
    }
    out->kind = resource_kind_of(object, why);
    if (!out->kind) {
        return surely_negative(why->code);
    }
    const char *version = json_str_at(object, "apiVersion", "");
    out->resource = out->kind->resource;
    out->resource.version = strchr(version, '/') ? strchr(version, '/') + 1 : version;
    out->object = object;
    out->name = json_str_at(object, "metadata.name", "");
    return out->kind->check ? out->kind->check(object, why) : 0;
}

/* What has become of one, for programs. */
static struct json *did(struct cli *c, const struct json *entry, const char *ns, const char *result)
{
    const struct json *object = json_get(entry, "object");
    struct json *one = cli_did(c, ns, json_str_at(object, "metadata.name", ""), result);

    json_set_str(one, "kind", json_str_at(object, "kind", ""));
    json_set_str(one, "from", json_str_at(entry, "from", ""));
    return one;
}

/* Counts those that are wrong. */
static unsigned check_all(struct cli *c, const struct json *all)
{
    unsigned bad = 0;

    for (size_t i = 0; i < json_count(all); i++) {
        struct target t;
        struct diag why = {0};
        const struct json *one = json_item(all, i);
        const char *ns = json_str_at(json_get(one, "object"), "metadata.namespace", "");
        if (check(json_get(one, "object"), &t, &why) < 0) {
            bad++;
            json_set_str(did(c, one, ns, "wrong"), "error", why.text);
        } else if (args_has(&c->args, "dry-run")) {
            (void)did(c, one, ns, "dry-run");
        }
    }
    return bad;
}

static enum answer say_wrong(struct cli *c, unsigned bad, size_t count)
{
    (void)cli_fail(c, ANSWER_NO, NULL, "%u of %zu object%s wrong; nothing was sent", bad, count,
                   span_plural(count));
    for (size_t i = 0; i < json_count(c->items); i++) {
        const struct json *item = json_item(c->items, i);
        const char *error = json_str_at(item, "error", NULL);
        if (error) {
            cli_evidence(c, "%s: %s", json_str_at(item, "from", ""), error);
        }
    }
    return ANSWER_NO;
}

/* ---- sending */

static int read_version(struct api *a, const struct target *t, char out[static 64],
                        struct diag *why)
{
    AUTO(json) struct json *before = NULL;
    struct kube_ask ask = {
        .verb = KUBE_GET, .resource = &t->resource, .ns = t->ns, .name = t->name};
    int r = api_call_blocking(a, &ask, &before, why);

    out[0] = '\0';
    if (r < 0) {
        return r == -ERR_NOT_FOUND ? 0 : r;
    }
    const char *version = json_str_at(before, "metadata.resourceVersion", "");
    size_t len = strnlen(version, 63);
    memcpy(out, version, len);
    out[len] = '\0';
    return 0;
}

/* What has become of it: "created", "configured", "unchanged". */
static int apply_one(struct cli *c, struct api *a, const struct target *t, const char **out,
                     struct diag *why)
{
    AUTO(json) struct json *after = NULL;
    char version[64];
    struct kube_ask ask = {.verb = KUBE_APPLY,
                           .resource = &t->resource,
                           .ns = t->ns,
                           .name = t->name,
                           .body = t->object,
                           .field_manager = "ambit",
                           .strict = true,
                           .force = args_has(&c->args, "force")};
    int r = read_version(a, t, version, why);

    if (r == 0) {
        r = api_call_blocking(a, &ask, &after, why);
    }
    if (r < 0) {
        return r;
    }
    const char *now = json_str_at(after, "metadata.resourceVersion", "");
    *out = version[0] == '\0' ? "created" : strcmp(version, now) == 0 ? "unchanged" : "configured";
    return 0;
}

static enum answer send_one(struct cli *c, struct api *a, const struct json *entry)
{
    struct target t;
    struct diag why = {0};
    const char *what = NULL;
    AUTO(strbuf) struct strbuf fix = {0};

    if (check(json_get(entry, "object"), &t, &why) < 0) {
        return cli_fail_diag(c, NULL, &why); /* checked before: cannot be */
    }
    t.ns = t.kind->resource.namespaced
               ? json_str_at(t.object, "metadata.namespace", api_namespace(a))
               : "";
    int r = apply_one(c, a, &t, &what, &why);
    if (r < 0) {
        json_set_str(did(c, entry, t.ns, "failed"), "error", cli_words(c, &why));
        const char *help = r == -ERR_CONFLICT ? "ambit apply --force -f FILE"
                           : run_spec_namespace_fix(t.ns, why.text, &fix) ? strbuf_text(&fix)
                           : cli_answer_of(r) == ANSWER_UNKNOWN           ? "ambit status"
                                                                          : NULL;
        return cli_fail(c, cli_answer_of(r), help, "%s: %s/%s: %s", json_str_at(entry, "from", ""),
                        t.kind->singular, t.name, cli_words(c, &why));
    }
    (void)did(c, entry, t.ns, what);
    cli_say(c, "%s/%s %s%s%s", t.kind->singular, t.name, what, *t.ns ? " in namespace " : "", t.ns);
    return ANSWER_YES;
}

static enum answer send_all(struct cli *c, const struct json *all)
{
    AUTO(api) struct api *a = NULL;
    struct diag why = {0};
    enum answer answer = ANSWER_YES;
    unsigned failed = 0;

    if (api_open_blocking(c, &a, &why) < 0) {
        return api_fail(c, &why);
    }
    for (size_t i = 0; i < json_count(all); i++) {
        enum answer one = send_one(c, a, json_item(all, i));
        failed += one != ANSWER_YES;
        answer = one == ANSWER_YES || answer == ANSWER_NO ? answer : one;
    }
    if (failed > 0 && json_count(all) > 1) {
        (void)cli_fail(c, answer, NULL, "%u of %zu objects failed", failed, json_count(all));
    }
    return answer;
}

/* What was meant by `-f *.yaml`. */
static void say_files(struct cli *c, struct strbuf *out)
{
    const char *path;

    strbuf_puts(out, "ambit apply");
    for (unsigned i = 0; (path = args_item(&c->args, "filename", i)) != NULL; i++) {
        strbuf_printf(out, " -f %s", path);
    }
    for (unsigned i = 0; i < c->args.operand_count; i++) {
        strbuf_printf(out, " -f %s", c->args.operands[i]);
    }
}

static enum answer run(struct cli *c)
{
    AUTO(json) struct json *all = json_new_array();
    AUTO(strbuf) struct strbuf fix = {0};
    struct diag why = {0};

    if (c->args.operand_count > 0) {
        say_files(c, &fix);
        return cli_fail(c, ANSWER_USAGE, strbuf_text(&fix), "%s: -f stands before every file",
                        c->args.operands[0]);
    }
    if (!args_has(&c->args, "filename")) {
        return cli_fail(c, ANSWER_USAGE, "ambit apply -f FILE", "needs -f");
    }
    if (manifest_load_all_blocking(&c->args, all, &why) < 0) {
        return cli_fail(c, ANSWER_NO, NULL, "nothing was sent: %s", why.text);
    }
    unsigned bad = check_all(c, all);
    if (bad > 0) {
        return say_wrong(c, bad, json_count(all));
    }
    if (args_has(&c->args, "dry-run")) {
        cli_say(c, "OK: %zu object%s, well-formed; nothing was sent", json_count(all),
                span_plural(json_count(all)));
        return ANSWER_YES;
    }
    return send_all(c, all);
}

static const struct arg_option own[] = {
    {"filename", 'f', ARG_LIST, "FILE", NULL,
     "manifest, folder of manifests, or - for standard input"},
    {"namespace", 'n', ARG_TEXT, "NAMESPACE", NULL, "of objects that name none"},
    {"force", 0, ARG_FLAG, NULL, NULL, "take over fields that another program manages"},
    {"dry-run", 0, ARG_FLAG, NULL, NULL, "check the files and send nothing"},
    {0}};
static const struct arg_option *const tables[] = {
    own, options_result, options_kube, options_timeout, options_common, NULL};

const struct command cmd_apply = {
    .name = "apply",
    .operands = "",
    .summary = "make objects what a manifest says",
    .about =
        "Reads YAML or JSON, any number of documents. All of it is checked first, and when "
        "something is wrong nothing is sent: errors name file, line, field and what to write. Then "
        "each object is applied (server-side, as kubectl apply --server-side does) and said to be "
        "created, configured or unchanged. Exit status 1 when some failed; the others are made.",
    .examples = "ambit apply -f shop.yaml\tmake it so\n"
                "ambit apply -f policies/ --dry-run\tare these manifests well-formed?\n"
                "ambit apply -f - < policy.yaml\tfrom standard input\n"
                "ambit apply -f shop.yaml -o json\tfor programs",
    .tables = tables,
    .operands_max = OPERANDS_ANY, /* to be told about -f */
    .run = run};
