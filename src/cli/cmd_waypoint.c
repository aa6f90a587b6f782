/* SPDX-License-Identifier: Apache-2.0 */
#include <poll.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "cli/api.h"
#include "cli/commands.h"
#include "cli/fix.h"
#include "cli/near.h"
#include "cli/rows.h"
#include "cli/waypoint_object.h"
#include "cli/yaml_print.h"
#include "codec/json.h"
#include "codec/name.h"
#include "kube/resource.h"

enum { LOOK_AGAIN_MS = 200, REPLICAS_MAX = 64 /* that ambitd takes */ };

static const struct kube_resource gateways = {"gateway.networking.k8s.io", "v1", "gateways", true};
static const struct kube_resource namespaces = {"", "v1", "namespaces", false};
static const struct kube_resource pods = {"", "v1", "pods", true};

static const char use_label[] = "istio.io/use-waypoint";
static const char use_ns_label[] = "istio.io/use-waypoint-namespace";
static const char mode_label[] = "istio.io/dataplane-mode";
static const char gateway_label[] = "gateway.networking.k8s.io/gateway-name";

struct work {
    struct cli *cli;
    struct api *api; /* NULL for generate */
    const char *ns;
    const char *name; /* of apply and generate */
};

static const char *given(const struct work *w, const char *option)
{
    return args_has(&w->cli->args, option) ? args_text(&w->cli->args, option) : NULL;
}

static struct waypoint_wish wish_of(const struct work *w)
{
    return (struct waypoint_wish){.ns = w->ns,
                                  .name = w->name,
                                  .traffic = given(w, "for"),
                                  .revision = given(w, "revision"),
                                  .replicas = given(w, "replicas")};
}

/* ---- looking */

/* Gateways that are waypoints, as rows; ns "" = everywhere. */
static int load_rows(struct work *w, const char *ns, struct json **out, struct diag *why)
{
    struct kube_ask ask = {.resource = &gateways, .ns = ns};
    struct kube_ask ask_pods = {.resource = &pods, .ns = ns, .label_selector = gateway_label};
    AUTO(json) struct json *all = NULL;
    AUTO(json) struct json *running = NULL;
    int r = api_list_blocking(w->api, &ask, &all, why);

    if (r == 0) {
        r = api_list_blocking(w->api, &ask_pods, &running, why);
    }
    if (r < 0) {
        return r;
    }
    *out = json_new_array();
    for (size_t i = 0; i < json_count(all); i++) {
        if (waypoint_is_one(json_item(all, i))) {
            json_append(*out, waypoint_row(json_item(all, i), running));
        }
    }
    return 0;
}

static bool is_named(const struct work *w, const struct json *row)
{
    const struct args *a = &w->cli->args;
    const char *revision = given(w, "revision");

    if (revision && strcmp(json_str_at(row, "revision", ""), revision) != 0) {
        return false;
    }
    for (unsigned i = 1; i < a->operand_count; i++) {
        if (strcmp(a->operands[i], json_str_at(row, "name", "")) == 0) {
            return true;
        }
    }
    return a->operand_count == 1;
}

/* Those that the command names; all where it names none. */
static int load_named(struct work *w, struct json **out, struct diag *why)
{
    bool everywhere = args_has(&w->cli->args, "all-namespaces");
    AUTO(json) struct json *all = NULL;
    int r = load_rows(w, everywhere ? "" : w->ns, &all, why);

    if (r == 0) {
        *out = json_new_array();
    }
    for (size_t i = 0; i < json_count(all); i++) {
        if (is_named(w, json_item(all, i))) {
            json_append(*out, json_ref(json_item(all, i)));
        }
    }
    return r;
}

static bool has_row(const struct json *rows, const char *name)
{
    for (size_t i = 0; i < json_count(rows); i++) {
        if (strcmp(json_str_at(json_item(rows, i), "name", ""), name) == 0) {
            return true;
        }
    }
    return false;
}

/* A name that was said and is not there; NULL if all are. */
static const char *missing(const struct work *w, const struct json *rows)
{
    const struct args *a = &w->cli->args;

    for (unsigned i = 1; i < a->operand_count; i++) {
        if (!has_row(rows, a->operands[i])) {
            return a->operands[i];
        }
    }
    return NULL;
}

static bool all_ready(const struct json *rows)
{
    for (size_t i = 0; i < json_count(rows); i++) {
        if (!waypoint_row_is_ready(json_item(rows, i))) {
            return false;
        }
    }
    return true;
}

/* Until all of them are ready, or the time is up. */
static int wait_blocking(struct work *w, struct json **rows, struct diag *why)
{
    struct progress p;
    int r;

    progress_begin(&p, &w->cli->term, "waiting for waypoints to be ready");
    do {
        *rows = json_unref(*rows);
        r = load_named(w, rows, why);
        progress_tick(&p);
        if (r < 0 || (json_count(*rows) > 0 && all_ready(*rows) && !missing(w, *rows))) {
            break;
        }
        (void)poll(NULL, 0, LOOK_AGAIN_MS); /* a signal only makes us look earlier */
    } while (progress_ms(&p) < args_ms(&w->cli->args, "waypoint-timeout"));
    progress_end(&p);
    return r;
}

/* ---- showing */

static const struct row_column list_columns[] = {
    {"NAMESPACE", "namespace", CELL_TEXT, false},   {"NAME", "name", CELL_TEXT, false},
    {"REVISION", "revision", CELL_TEXT, false},     {"TRAFFIC TYPE", "traffic", CELL_TEXT, false},
    {"PROGRAMMED", "programmed", CELL_TEXT, false}, {"REPLICAS", "replicas", CELL_TEXT, false},
    {"ADDRESSES", "addresses", CELL_TEXT, true},    {0}};
static const struct row_column status_columns[] = {
    {"NAMESPACE", "namespace", CELL_TEXT, false}, {"NAME", "name", CELL_TEXT, false},
    {"VERDICT", "verdict", CELL_VERDICT, false},  {"REPLICAS", "replicas", CELL_TEXT, false},
    {"TYPE", "type", CELL_TEXT, false},           {"STATUS", "status", CELL_TEXT, false},
    {"REASON", "reason", CELL_TEXT, false},       {"MESSAGE", "message", CELL_TEXT, false},
    {"ADDRESSES", "addresses", CELL_TEXT, true},  {0}};

static void show(struct work *w, const struct json *rows, const struct row_column *columns)
{
    static const char *const order[] = {"namespace", "name", NULL};
    AUTO(json) struct json *sorted = rows_sorted(rows, order);
    AUTO(strbuf) struct strbuf b = {0};

    waypoint_verdict(sorted, &b);
    if (cli_wants_json(w->cli)) {
        struct json *all = json_new_object();
        json_set_int(all, "version", 1);
        json_set_str(all, "verdict", strbuf_text(&b));
        json_set(all, "items", MOVE(sorted));
        cli_print_json(w->cli, all);
        return;
    }
    strbuf_putc(&b, '\n');
    if (json_count(sorted) > 0) {
        strbuf_putc(&b, '\n');
        rows_print(sorted, columns, strcmp(args_text(&w->cli->args, "output"), "wide") == 0,
                   w->cli->term.out_colour, &b);
        waypoint_explain(sorted, &b);
    }
    term_out(&w->cli->term, &b);
}

static enum answer do_list(struct work *w)
{
    AUTO(json) struct json *rows = NULL;
    struct diag why = {0};

    if (load_named(w, &rows, &why) < 0) {
        return cli_fail_diag(w->cli, NULL, &why);
    }
    show(w, rows, list_columns);
    if (json_count(rows) == 0 && !args_has(&w->cli->args, "all-namespaces")) {
        return cli_fail(w->cli, ANSWER_YES, "ambit waypoint list -A",
                        "there is none in namespace %s", w->ns);
    }
    return ANSWER_YES;
}

static enum answer do_status(struct work *w)
{
    AUTO(json) struct json *rows = NULL;
    struct diag why = {0};
    int r = args_has(&w->cli->args, "wait") ? wait_blocking(w, &rows, &why)
                                            : load_named(w, &rows, &why);

    if (r < 0) {
        return cli_fail_diag(w->cli, NULL, &why);
    }
    const char *absent = missing(w, rows);
    if (!absent || json_count(rows) > 0 || cli_wants_json(w->cli)) {
        show(w, rows, status_columns);
    }
    if (absent) {
        return cli_fail(w->cli, ANSWER_NO, "ambit waypoint list -A", "no waypoint %s/%s", w->ns,
                        absent);
    }
    if (json_count(rows) == 0) {
        AUTO(strbuf) struct strbuf fix = {0};
        strbuf_printf(&fix, "ambit waypoint apply -n %s --enroll-namespace", w->ns);
        return cli_fail(w->cli, ANSWER_NO, strbuf_text(&fix), "there is none to be ready");
    }
    return all_ready(rows) ? ANSWER_YES : ANSWER_NO;
}

/* For programs. */
static void did(struct work *w, const char *ns, const char *name, const char *result)
{
    json_set_str(cli_did(w->cli, ns, name, result), "kind", "Gateway");
}

/* ---- generate, apply */

static enum answer do_generate(struct work *w)
{
    struct waypoint_wish wish = wish_of(w);
    AUTO(json) struct json *gateway = waypoint_gateway(&wish);
    AUTO(strbuf) struct strbuf b = {0};

    if (cli_wants_json(w->cli)) {
        cli_print_json(w->cli, MOVE(gateway));
        return ANSWER_YES;
    }
    yaml_print(gateway, &b);
    term_out(&w->cli->term, &b);
    return ANSWER_YES;
}

static enum answer label_namespace(struct work *w, const struct json *labels)
{
    AUTO(json) struct json *body = json_new_object();
    AUTO(json) struct json *after = NULL;
    const char *before = json_str(json_get(labels, use_label), "");
    struct json *fresh = json_make_object(body, "metadata.labels");
    struct diag why = {0};

    if (*before && strcmp(before, w->name) != 0 && !args_has(&w->cli->args, "overwrite")) {
        return cli_fail(w->cli, ANSWER_NO, "say --overwrite to change it",
                        "namespace %s already uses waypoint %s", w->ns, before);
    }
    json_set_str(fresh, use_label, w->name);
    if (json_get(labels, use_ns_label)) {
        json_set(fresh, use_ns_label, json_new_null()); /* this one is its own */
    }
    struct kube_ask ask = {
        .verb = KUBE_MERGE_PATCH, .resource = &namespaces, .name = w->ns, .body = body};
    if (api_call_blocking(w->api, &ask, &after, &why) < 0) {
        return cli_fail_diag(w->cli, NULL, &why);
    }
    json_set_str(cli_did(w->cli, "", w->ns, "enrolled"), "kind", "Namespace");
    cli_say(w->cli, "namespace %s uses waypoint %s from now on", w->ns, w->name);
    return ANSWER_YES;
}

/* Whose traffic it will get, which people forget. */
static void say_use(struct work *w, const struct json *labels)
{
    if (strcmp(json_str(json_get(labels, use_label), ""), w->name) != 0) {
        cli_say(w->cli,
                "nothing goes through it until a namespace or a service says so\n"
                "  next: ambit label ns %s %s=%s",
                w->ns, use_label, w->name);
    }
}

static enum answer enrol(struct work *w)
{
    struct kube_ask ask = {.verb = KUBE_GET, .resource = &namespaces, .name = w->ns};
    AUTO(json) struct json *namespace = NULL;
    struct diag why = {0};

    if (api_call_blocking(w->api, &ask, &namespace, &why) < 0) {
        return cli_fail_diag(w->cli, NULL, &why);
    }
    const struct json *labels = json_at(namespace, "metadata.labels");
    if (!args_has(&w->cli->args, "enroll-namespace")) {
        say_use(w, labels);
        return ANSWER_YES;
    }
    enum answer a = label_namespace(w, labels);
    if (a == ANSWER_YES && strcmp(json_str(json_get(labels, mode_label), ""), "ambient") != 0) {
        cli_say(w->cli,
                "namespace %s is not in the mesh, so its traffic does not reach the waypoint\n"
                "  fix: ambit label ns %s %s=ambient",
                w->ns, w->ns, mode_label);
    }
    return a;
}

static enum answer wait_for_it(struct work *w)
{
    AUTO(json) struct json *rows = NULL;
    AUTO(strbuf) struct strbuf b = {0};
    char *self[] = {w->cli->args.operands[0], (char *)(uintptr_t)w->name};
    struct diag why = {0};

    w->cli->args.operands = self;
    w->cli->args.operand_count = 2;
    if (wait_blocking(w, &rows, &why) < 0) {
        return cli_fail_diag(w->cli, NULL, &why);
    }
    if (json_count(rows) > 0 && all_ready(rows)) {
        did(w, w->ns, w->name, "ready");
        cli_say(w->cli, "OK: waypoint %s/%s is ready", w->ns, w->name);
        return ANSWER_YES;
    }
    waypoint_explain(rows, &b);
    term_err(&w->cli->term, &b);
    bool enrols = args_has(&w->cli->args, "enroll-namespace");
    return cli_fail(w->cli, ANSWER_NO, NULL, "waypoint %s/%s is not ready in time%s", w->ns,
                    w->name, enrols ? ", so its namespace is not labelled to use it" : "");
}

static enum answer do_apply(struct work *w)
{
    struct waypoint_wish wish = wish_of(w);
    AUTO(json) struct json *gateway = waypoint_gateway(&wish);
    AUTO(json) struct json *after = NULL;
    struct diag why = {0};
    struct kube_ask ask = {.verb = KUBE_APPLY,
                           .resource = &gateways,
                           .ns = w->ns,
                           .name = w->name,
                           .body = gateway,
                           .field_manager = "ambit",
                           .force = true};

    if (api_call_blocking(w->api, &ask, &after, &why) < 0) {
        return cli_fail_diag(w->cli, NULL, &why);
    }
    did(w, w->ns, w->name, "applied");
    cli_say(w->cli, "waypoint %s/%s applied", w->ns, w->name);
    /* Where policy aims at the services already, all requests would be refused until it is ready. */
    enum answer a = args_has(&w->cli->args, "wait") ? wait_for_it(w) : ANSWER_YES;
    return a == ANSWER_YES ? enrol(w) : a;
}

/* ---- delete, restart */

static enum answer delete_one(struct work *w, const char *ns, const char *name)
{
    AUTO(json) struct json *gone = NULL;
    struct diag why = {0};
    struct kube_ask ask = {.verb = KUBE_DELETE, .resource = &gateways, .ns = ns, .name = name};

    if (api_call_blocking(w->api, &ask, &gone, &why) < 0) {
        return cli_fail_diag(w->cli, NULL, &why);
    }
    did(w, ns, name, "deleted");
    cli_say(w->cli, "waypoint %s/%s deleted", ns, name);
    return ANSWER_YES;
}

/* Services and namespaces that still name it, which are refused without it (contract 3.4.1). */
static void say_users(struct work *w, const char *ns, const char *name)
{
    AUTO(strbuf) struct strbuf selector = {0};
    AUTO(json) struct json *users = NULL;
    struct diag unread = {0};

    strbuf_printf(&selector, "%s=%s", use_label, name);
    struct kube_ask ask = {.resource = &namespaces, .label_selector = strbuf_text(&selector)};
    if (api_list_blocking(w->api, &ask, &users, &unread) < 0) {
        return; /* a hint less */
    }
    for (size_t i = 0; i < json_count(users); i++) {
        const struct json *u = json_item(users, i);
        const char *own = json_str_at(u, "metadata.name", "");
        const char *where = json_str(json_get(json_at(u, "metadata.labels"), use_ns_label), own);
        if (strcmp(where, ns) == 0) {
            cli_say(w->cli, "namespace %s still names it\n  next: ambit label ns %s %s-", own, own,
                    use_label);
        }
    }
}

static enum answer delete_all(struct work *w, const struct json *rows)
{
    enum answer answer = ANSWER_YES;

    for (size_t i = 0; i < json_count(rows); i++) {
        const struct json *row = json_item(rows, i);
        const char *ns = json_str_at(row, "namespace", "");
        const char *name = json_str_at(row, "name", "");
        enum answer one = delete_one(w, ns, name);
        if (one == ANSWER_YES) {
            say_users(w, ns, name);
        } else {
            answer = one;
        }
    }
    return answer;
}

static enum answer do_delete(struct work *w)
{
    const struct args *a = &w->cli->args;
    bool named = a->operand_count > 1;
    bool many = args_has(a, "all") || args_has(a, "revision");
    AUTO(json) struct json *rows = NULL;
    struct diag why = {0};

    if (named == many) {
        return cli_fail(w->cli, ANSWER_USAGE, "ambit help waypoint",
                        "delete needs NAME..., or --all, or --revision");
    }
    if (load_named(w, &rows, &why) < 0) {
        return cli_fail_diag(w->cli, NULL, &why);
    }
    const char *absent = missing(w, rows);
    if (absent) {
        return cli_fail(w->cli, ANSWER_NO, "ambit waypoint list -A", "no waypoint %s/%s", w->ns,
                        absent);
    }
    if (json_count(rows) == 0) {
        cli_say(w->cli, "no waypoints");
    }
    return delete_all(w, rows);
}

static enum answer restart_one(struct work *w, const struct json *row)
{
    AUTO(json) struct json *body = json_new_object();
    AUTO(json) struct json *after = NULL;
    const char *ns = json_str_at(row, "namespace", "");
    const char *name = json_str_at(row, "name", "");
    char now[CLOCK_TEXT];
    struct diag why = {0};

    clock_format(clock_wall_ns(), now, sizeof(now));
    json_set_str(json_make_object(body, "metadata.annotations"), "ambit.io/restarted-at", now);
    struct kube_ask ask = {
        .verb = KUBE_MERGE_PATCH, .resource = &gateways, .ns = ns, .name = name, .body = body};
    if (api_call_blocking(w->api, &ask, &after, &why) < 0) {
        return cli_fail_diag(w->cli, NULL, &why);
    }
    did(w, ns, name, "restarting");
    cli_say(w->cli, "waypoint %s/%s: its replicas are replaced one after the other", ns, name);
    return ANSWER_YES;
}

static enum answer do_restart(struct work *w)
{
    AUTO(json) struct json *rows = NULL;
    enum answer answer = ANSWER_YES;
    struct diag why = {0};

    if (w->cli->args.operand_count < 2) {
        return cli_fail(w->cli, ANSWER_USAGE, "ambit help waypoint", "restart needs NAME...");
    }
    if (load_named(w, &rows, &why) < 0) {
        return cli_fail_diag(w->cli, NULL, &why);
    }
    const char *absent = missing(w, rows);
    if (absent) {
        return cli_fail(w->cli, ANSWER_NO, "ambit waypoint list -A", "no waypoint %s/%s", w->ns,
                        absent);
    }
    for (size_t i = 0; i < json_count(rows); i++) {
        enum answer one = restart_one(w, json_item(rows, i));
        answer = one == ANSWER_YES ? answer : one;
    }
    return answer;
}

/* ---- the whole */

static const struct arg_option own[] = {
    {"namespace", 'n', ARG_TEXT, "NAMESPACE", NULL, "where it is; otherwise the context's"},
    {"name", 0, ARG_TEXT, "NAME", "waypoint", "of apply and generate: what it is called"},
    {"for", 0, ARG_CHOICE, "service|workload|all|none", NULL,
     "of apply and generate: which traffic it takes; left to the default it is service"},
    {"replicas", 0, ARG_NUMBER, "N", NULL,
     "of apply and generate: how many of it run, at most 64, spread over the nodes (without a "
     "cluster)"},
    {"revision", 'r', ARG_TEXT, "NAME", NULL, "its revision; of the others: only of this one"},
    {"enroll-namespace", 0, ARG_FLAG, NULL, NULL,
     "of apply: label its namespace to use it; with --wait once it is ready"},
    {"overwrite", 0, ARG_FLAG, NULL, NULL,
     "of apply: though the namespace uses another one so far"},
    {"wait", 'w', ARG_FLAG, NULL, NULL, "of apply and status: come back when it is ready"},
    {"waypoint-timeout", 0, ARG_DURATION, "TIME", "90s", "with --wait: no longer than this"},
    {"all-namespaces", 'A', ARG_FLAG, NULL, NULL, "of list, status and delete: in all of them"},
    {"all", 0, ARG_FLAG, NULL, NULL, "of delete: all of the namespace"},
    {0}};
static const struct verb {
    const char *name;
    enum answer (*run)(struct work *w);
    bool takes_names;
    bool offline;
    const char
        *options; /* those of `own` that mean something to it, beside namespace and revision */
} verbs[] = {{"apply", do_apply, false, false,
              "name for replicas enroll-namespace overwrite wait waypoint-timeout"},
             {"list", do_list, true, false, "all-namespaces"},
             {"status", do_status, true, false, "all-namespaces wait waypoint-timeout"},
             {"delete", do_delete, true, false, "all-namespaces all"},
             {"generate", do_generate, false, true, "name for replicas"},
             {"restart", do_restart, true, false, ""}};

static const struct verb *find_verb(struct cli *c)
{
    const char *best = NULL;
    const char *word = c->args.operands[0];

    for (size_t i = 0; i < ARRAY_LEN(verbs); i++) {
        if (strcmp(verbs[i].name, word) == 0) {
            return &verbs[i];
        }
        best = near_best(word, best, verbs[i].name);
    }
    const char *all = c->command->operands;
    (void)cli_fail(c, ANSWER_USAGE, "ambit help waypoint", "no such thing as %s; %s%.*s%s", word,
                   best ? "did you mean " : "there are ", (int)strcspn(best ? best : all, " "),
                   best ? best : all, best ? "?" : "");
    return NULL;
}

static const char *meaningless(struct cli *c, const struct verb *v)
{
    for (const struct arg_option *o = own; o->name; o++) {
        if (args_has(&c->args, o->name) && strcmp(o->name, "namespace") != 0 &&
            strcmp(o->name, "revision") != 0 &&
            !slice_has_word(slice_of(v->options), ' ', o->name)) {
            return o->name;
        }
    }
    return NULL;
}

static enum answer check(struct cli *c, const struct verb *v)
{
    AUTO(strbuf) struct strbuf fix = {0};
    const char *option = meaningless(c, v);

    if (option) {
        return cli_fail(c, ANSWER_USAGE, "ambit help waypoint", "--%s means nothing to %s", option,
                        v->name);
    }
    if (!v->takes_names && c->args.operand_count > 1) {
        strbuf_printf(&fix, "ambit waypoint %s --name ", v->name);
        fix_put_word(c->args.operands[1], &fix);
        return cli_fail(c, ANSWER_USAGE, strbuf_text(&fix), "%s is one word too many",
                        c->args.operands[1]);
    }
    /* A Service has the same name, and so does a label. */
    if (name_problem(NAME_LABEL_1035, args_text(&c->args, "name"))) {
        return cli_fail(c, ANSWER_USAGE, "ambit help waypoint",
                        "--name: %s: write lower-case letters, digits and '-', a letter first, at "
                        "most 63",
                        args_text(&c->args, "name"));
    }
    if (args_number(&c->args, "replicas") > REPLICAS_MAX) {
        return cli_fail(c, ANSWER_USAGE, "ambit help waypoint", "--replicas: at most %d",
                        REPLICAS_MAX);
    }
    if (strcmp(args_text(&c->args, "name"), "none") == 0) {
        return cli_fail(c, ANSWER_USAGE, "choose another name",
                        "--name: none means that there is no waypoint");
    }
    return ANSWER_YES;
}

static enum answer run(struct cli *c)
{
    AUTO(api) struct api *a = NULL;
    struct diag why = {0};
    const struct verb *v = find_verb(c);
    struct work w = {.cli = c, .name = args_text(&c->args, "name")};
    enum answer answer = v ? check(c, v) : ANSWER_USAGE;

    if (answer != ANSWER_YES) {
        return answer;
    }
    if (v->offline) {
        const char *ns = args_text(&c->args, "namespace");
        w.ns = ns ? ns : "default";
        return v->run(&w);
    }
    if (api_open_blocking(c, &a, &why) < 0) {
        return api_fail(c, &why);
    }
    w.api = a;
    w.ns = api_namespace(a);
    return v->run(&w);
}

static const struct arg_option *const tables[] = {
    own, options_output, options_kube, options_timeout, options_common, NULL};

const struct command cmd_waypoint = {
    .name = "waypoint",
    .operands = "apply|list|status|delete|restart|generate [NAME...]",
    .summary = "waypoints: layer 7 for the services that ask for it",
    .about =
        "A waypoint routes and judges the HTTP requests of the services that use it; everybody "
        "else "
        "stays at layer 4. `apply` asks for one (an object Gateway of class istio-waypoint, which "
        "`generate` prints), `list` shows those there are, `status` says whether they are ready "
        "and "
        "why not, `restart` replaces the replicas one after the other, `delete` takes one away. A "
        "namespace, a service or a pod uses one by the label istio.io/use-waypoint=NAME; "
        "--enroll-namespace sets it. Exit status of `status`: 0 all ready, 1 not, 3 cannot tell.",
    .examples = "ambit waypoint apply -n shop --enroll-namespace --wait\tlayer 7 for all of shop\n"
                "ambit waypoint apply -n shop --name strict --for all --replicas 2\tanother one, "
                "for pods, too\n"
                "ambit waypoint status -n shop\tis it ready, and if not, why?\n"
                "ambit waypoint delete waypoint -n shop\ttake it away",
    .tables = tables,
    .operands_min = 1,
    .operands_max = OPERANDS_ANY,
    .run = run};
