/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "base/clock.h"
#include "cli/api.h"
#include "cli/commands.h"
#include "cli/resource_kind.h"
#include "cli/rows.h"
#include "cli/yaml_print.h"
#include "codec/json.h"

/* ---- fetching */

struct query {
    const struct resource_kind *kind;
    const char *ns;  /* "" = all, or the kind has none */
    unsigned absent; /* names that are not there, which has been said */
};

static int fetch_named(struct cli *c, struct api *a, struct query *q, struct json *items,
                       struct diag *why)
{
    for (unsigned i = 1; i < c->args.operand_count; i++) {
        struct kube_ask ask = {.verb = KUBE_GET,
                               .resource = &q->kind->resource,
                               .ns = q->ns,
                               .name = c->args.operands[i]};
        struct json *one = NULL;
        int r = api_call_blocking(a, &ask, &one, why);
        if (r == -ERR_NOT_FOUND) {
            (void)cli_fail_diag(c, NULL, why); /* counted */
            q->absent++;
            continue;
        }
        if (r < 0) {
            return r;
        }
        json_append(items, one);
    }
    return 0;
}

static int fetch(struct cli *c, struct api *a, struct query *q, struct json **out, struct diag *why)
{
    struct kube_ask ask = {.resource = &q->kind->resource,
                           .ns = q->ns,
                           .label_selector = args_text(&c->args, "selector")};

    if (c->args.operand_count == 1) {
        return api_list_blocking(a, &ask, out, why);
    }
    AUTO(json) struct json *items = json_new_array();
    int r = fetch_named(c, a, q, items, why);
    if (r == 0) {
        *out = MOVE(items);
    }
    return r;
}

/* Items of a list come without the words that say what they are. */
static void name_kind(const struct resource_kind *k, const struct json *items)
{
    AUTO(strbuf) struct strbuf version = {0};

    strbuf_printf(&version, "%s%s%s", k->resource.group, *k->resource.group ? "/" : "",
                  k->resource.version);
    for (size_t i = 0; i < json_count(items); i++) {
        json_set_str(json_item(items, i), "apiVersion", strbuf_text(&version));
        json_set_str(json_item(items, i), "kind", k->kind);
    }
}

/* Who set which field is the server's book-keeping; an object with it could not be applied again. */
static void hide_managers(const struct json *items)
{
    for (size_t i = 0; i < json_count(items); i++) {
        (void)json_remove(json_at(json_item(items, i), "metadata"), "managedFields");
    }
}

/* Where a namespace holds nothing: is there such a namespace at all? */
static enum answer check_namespace(struct cli *c, struct api *a, const char *ns)
{
    static const struct kube_resource namespaces = {"", "v1", "namespaces", false};
    struct kube_ask ask = {.verb = KUBE_GET, .resource = &namespaces, .name = ns};
    AUTO(json) struct json *namespace = NULL;
    struct diag why = {0};

    return *ns && api_call_blocking(a, &ask, &namespace, &why) == -ERR_NOT_FOUND
               ? cli_fail_diag(c, NULL, &why)
               : ANSWER_YES;
}

/* ---- showing */

static void show_names(const struct resource_kind *k, const struct json *items, struct strbuf *out)
{
    for (size_t i = 0; i < json_count(items); i++) {
        strbuf_printf(out, "%s/%s\n", k->singular,
                      json_str_at(json_item(items, i), "metadata.name", ""));
    }
}

static void show_table(struct cli *c, const struct query *q, const struct json *items, bool wide,
                       struct strbuf *out)
{
    struct row_column columns[RESOURCE_COLUMNS_MAX];
    AUTO(json) struct json *rows = json_new_array();

    for (size_t i = 0; i < json_count(items); i++) {
        json_append(rows, resource_kind_row(q->kind, json_item(items, i), clock_wall_s()));
    }
    resource_kind_columns(q->kind, *q->ns == '\0', columns);
    rows_print(rows, columns, wide, c->term.out_colour, out);
}

/* One object stands alone when it was asked for by name; else all are a List. */
static struct json *whole(const struct cli *c, const struct json *items)
{
    if (c->args.operand_count == 2 && json_count(items) == 1) {
        return json_clone(json_item(items, 0));
    }
    struct json *list = json_new_object();
    json_set_str(list, "apiVersion", "v1");
    json_set_str(list, "kind", "List");
    json_set(list, "items", json_clone(items));
    return list;
}

static void show(struct cli *c, const struct query *q, const struct json *items)
{
    const char *how = args_text(&c->args, "output");
    AUTO(strbuf) struct strbuf b = {0};
    AUTO(json) struct json *all = whole(c, items);

    if (strcmp(how, "json") == 0) {
        cli_print_json(c, MOVE(all));
        return;
    }
    if (strcmp(how, "yaml") == 0) {
        yaml_print(all, &b);
    } else if (strcmp(how, "name") == 0) {
        show_names(q->kind, items, &b);
    } else if (json_count(items) > 0) {
        show_table(c, q, items, strcmp(how, "wide") == 0, &b);
    }
    term_out(&c->term, &b);
}

/* A NAME means one object in one namespace: without that, it would be looked for where nothing is. */
static enum answer check_names(struct cli *c, const struct resource_kind *k)
{
    AUTO(strbuf) struct strbuf fix = {0};

    if (c->args.operand_count > 1 && args_has(&c->args, "selector")) {
        return cli_fail(c, ANSWER_USAGE, "ambit help get", "write a NAME or a selector, not both");
    }
    if (c->args.operand_count > 1 && k->resource.namespaced &&
        args_has(&c->args, "all-namespaces")) {
        strbuf_printf(&fix, "ambit get %s -A", k->resource.plural);
        return cli_fail(c, ANSWER_USAGE, strbuf_text(&fix),
                        "a NAME is looked for in one namespace: write -n NAMESPACE, not -A");
    }
    return ANSWER_YES;
}

static enum answer run(struct cli *c)
{
    struct diag why = {0};
    AUTO(api) struct api *a = NULL;
    AUTO(json) struct json *items = NULL;
    struct query q = {.kind = resource_kind_find(c->args.operands[0], &why), .ns = ""};

    if (!q.kind) {
        return cli_fail(c, ANSWER_USAGE, NULL, "%s", why.text);
    }
    if (check_names(c, q.kind) != ANSWER_YES) {
        return ANSWER_USAGE;
    }
    if (api_open_blocking(c, &a, &why) < 0) {
        return api_fail(c, &why);
    }
    if (q.kind->resource.namespaced && !args_has(&c->args, "all-namespaces")) {
        q.ns = api_namespace(a);
    }
    if (fetch(c, a, &q, &items, &why) < 0) {
        return cli_fail_diag(c, NULL, &why);
    }
    enum answer answer = q.absent > 0 && json_count(items) == 0 ? ANSWER_NO
                         : json_count(items) == 0               ? check_namespace(c, a, q.ns)
                                                                : ANSWER_YES;
    if (answer != ANSWER_YES) {
        return answer;
    }
    name_kind(q.kind, items);
    hide_managers(items);
    show(c, &q, items);
    if (json_count(items) == 0) {
        return cli_fail(c, ANSWER_YES, NULL, "no %s%s%s", q.kind->resource.plural,
                        *q.ns ? " in namespace " : "", q.ns);
    }
    return q.absent > 0 ? ANSWER_NO : ANSWER_YES;
}

static const struct arg_option own[] = {
    {"namespace", 'n', ARG_TEXT, "NAMESPACE", NULL, "where to look; otherwise the context's"},
    {"all-namespaces", 'A', ARG_FLAG, NULL, NULL, "look in all of them"},
    {"selector", 'l', ARG_TEXT, "SELECTOR", NULL,
     "only objects with these labels: app=cart,tier!=db"},
    {"output", 'o', ARG_CHOICE, "table|wide|json|yaml|name", "table", "how to print it"},
    {0}};
static const struct arg_option *const tables[] = {own, options_kube, options_timeout,
                                                  options_common, NULL};

const struct command cmd_get = {
    .name = "get",
    .operands = "KIND [NAME...]",
    .summary = "objects of the API: namespaces, pods, services, policies",
    .about = "A KIND may be written as kubectl has it: pods, pod, po, Pod, "
             "authorizationpolicy.security.istio.io. MESH says whether a namespace is labelled for "
             "the mesh, and whether a pod is captured (proved by its node, not only labelled). "
             "Exit status 1 when a NAME or the namespace is not there.",
    .examples = "ambit get pods -A\tall pods and whether they are captured\n"
                "ambit get ap deny-all -n shop -o yaml\tone policy, with its status\n"
                "ambit get ns -o name\tnames only",
    .tables = tables,
    .operands_min = 1,
    .operands_max = OPERANDS_ANY,
    .run = run};
