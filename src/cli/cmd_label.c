/* SPDX-License-Identifier: Apache-2.0 */
#include <poll.h>
#include <string.h>

#include "cli/api.h"
#include "cli/commands.h"
#include "cli/fix.h"
#include "cli/label_change.h"
#include "cli/mesh_effect.h"
#include "cli/resource_kind.h"
#include "cli/span.h"
#include "cli/waypoint_effect.h"
#include "cli/waypoint_object.h"
#include "codec/json.h"

enum { LOOK_AGAIN_MS = 100 };

static const struct kube_resource pods = {"", "v1", "pods", true};
static const struct kube_resource namespaces = {"", "v1", "namespaces", false};
static const struct kube_resource services = {"", "v1", "services", true};
static const struct kube_resource gateways = {"gateway.networking.k8s.io", "v1", "gateways", true};

struct subject { /* what is labelled, and what the mesh makes of it */
    const struct resource_kind *kind;
    const char *ns;
    const char *name;
    struct json *object;
    struct json *labels;           /* that it will have */
    struct json *namespace_labels; /* of a pod's or service's namespace */
    struct json *pods;
    struct json *services; /* of the namespace that is labelled */
    struct json *waypoint; /* the row of the one that it will use; NULL: there is none */
};

static void subject_fini(struct subject *s)
{
    json_unref(s->object);
    json_unref(s->labels);
    json_unref(s->namespace_labels);
    json_unref(s->pods);
    json_unref(s->services);
    json_unref(s->waypoint);
}

static bool is_namespace(const struct subject *s)
{
    return strcmp(s->kind->kind, "Namespace") == 0;
}

/* ---- looking */

static int load_pods(struct api *a, const struct subject *s, struct json **out, struct diag *why)
{
    struct kube_ask list = {.resource = &pods, .ns = s->name};

    if (is_namespace(s)) {
        return api_list_blocking(a, &list, out, why);
    }
    *out = json_new_array();
    if (strcmp(s->kind->kind, "Pod") == 0) {
        struct kube_ask get = {.verb = KUBE_GET, .resource = &pods, .ns = s->ns, .name = s->name};
        struct json *pod = NULL;
        int r = api_call_blocking(a, &get, &pod, why);
        if (r < 0) {
            *out = json_unref(*out);
            return r;
        }
        json_append(*out, pod);
    }
    return 0;
}

static int load_namespace(struct api *a, struct subject *s, struct diag *why)
{
    struct kube_ask ask = {.verb = KUBE_GET, .resource = &namespaces, .name = s->ns};
    AUTO(json) struct json *namespace = NULL;
    int r = *s->ns ? api_call_blocking(a, &ask, &namespace, why) : 0;

    s->namespace_labels = json_ref(json_at(namespace, "metadata.labels"));
    return r;
}

/* What the labels name, and whom they concern. A waypoint that is not there is no failure. */
static int load_waypoint(struct api *a, struct subject *s, struct diag *why)
{
    const char *own_ns = is_namespace(s) ? s->name : s->ns;
    const char *ns = "";
    const char *name = waypoint_effect_named(s->labels, own_ns, &ns);
    AUTO(strbuf) struct strbuf selector = {0};
    AUTO(json) struct json *gateway = NULL;
    AUTO(json) struct json *running = NULL;

    if (!name) {
        return 0;
    }
    struct kube_ask ask = {.verb = KUBE_GET, .resource = &gateways, .ns = ns, .name = name};
    strbuf_printf(&selector, "gateway.networking.k8s.io/gateway-name=%s", name);
    struct kube_ask ask_pods = {
        .resource = &pods, .ns = ns, .label_selector = strbuf_text(&selector)};
    int r = api_call_blocking(a, &ask, &gateway, why);
    if (r == 0) {
        r = api_list_blocking(a, &ask_pods, &running, why);
    }
    if (r == 0) {
        s->waypoint = waypoint_row(gateway, running);
    }
    return r == -ERR_NOT_FOUND ? 0 : r;
}

static int load_services(struct api *a, struct subject *s, struct diag *why)
{
    struct kube_ask ask = {.resource = &services, .ns = s->name};

    return is_namespace(s) ? api_list_blocking(a, &ask, &s->services, why) : 0;
}

static void say_effects(const struct subject *s, struct strbuf *out)
{
    struct waypoint_effect e = {.kind = s->kind->kind,
                                .ns = is_namespace(s) ? s->name : s->ns,
                                .before = json_at(s->object, "metadata.labels"),
                                .after = s->labels,
                                .waypoint = s->waypoint,
                                .services = s->services};

    mesh_effect_say(s->kind, s->object, s->labels, s->namespace_labels, s->pods, out);
    waypoint_effect_say(&e, out);
}

static int load(struct api *a, struct subject *s, const struct json *patch, struct diag *why)
{
    struct kube_ask ask = {
        .verb = KUBE_GET, .resource = &s->kind->resource, .ns = s->ns, .name = s->name};
    int r = api_call_blocking(a, &ask, &s->object, why);

    if (r == 0) {
        s->labels = json_merge_patch(json_clone(json_at(s->object, "metadata.labels")), patch);
        r = load_namespace(a, s, why);
    }
    if (r == 0) {
        r = load_pods(a, s, &s->pods, why);
    }
    if (r == 0) {
        r = load_services(a, s, why);
    }
    return r < 0 ? r : load_waypoint(a, s, why);
}

/* ---- changing */

static int send_patch(struct api *a, const struct subject *s, const struct json *patch,
                      struct diag *why)
{
    AUTO(json) struct json *body = json_new_object();
    AUTO(json) struct json *after = NULL;

    json_set(json_make_object(body, "metadata"), "labels", json_clone(patch));
    struct kube_ask ask = {.verb = KUBE_MERGE_PATCH,
                           .resource = &s->kind->resource,
                           .ns = s->ns,
                           .name = s->name,
                           .body = body};
    return api_call_blocking(a, &ask, &after, why);
}

/* ---- waiting until nodes have done it */

static bool is_redirected(const struct json *pod)
{
    const struct json *annotations = json_at(pod, "metadata.annotations");

    return strcmp(json_str(json_get(annotations, "ambient.istio.io/redirection"), ""), "enabled") ==
           0;
}

/* Pods whose node has not done yet what the labels ask. */
static unsigned count_waiting(const struct subject *s, const struct json *now)
{
    unsigned n = 0;

    for (size_t i = 0; i < json_count(now); i++) {
        const struct json *pod = json_item(now, i);
        const struct json *own = json_at(pod, "metadata.labels");
        bool wanted = mesh_captures(is_namespace(s) ? s->labels : s->namespace_labels, own, pod);
        n += wanted != is_redirected(pod);
    }
    return n;
}

static enum answer wait_blocking(struct cli *c, struct api *a, const struct subject *s,
                                 struct json *did)
{
    struct progress p;
    struct diag why = {0};
    unsigned waiting = 0;
    int r = 0;

    progress_begin(&p, &c->term, "waiting for nodes to do it");
    do {
        AUTO(json) struct json *now = NULL;
        r = load_pods(a, s, &now, &why);
        waiting = r < 0 ? 0 : count_waiting(s, now);
        progress_tick(&p);
        if (waiting > 0) {
            (void)poll(NULL, 0, LOOK_AGAIN_MS); /* a signal only makes us look earlier */
        }
    } while (waiting > 0 && progress_ms(&p) < args_ms(&c->args, "timeout"));
    progress_end(&p);
    if (r < 0) {
        return cli_fail_diag(c, NULL, &why);
    }
    if (waiting > 0) {
        return cli_fail(c, ANSWER_NO, "ambit status", "%u pod%s not there yet", waiting,
                        span_plural(waiting));
    }
    json_set_int(did, "doneMs", (int64_t)progress_ms(&p));
    cli_say(c, "done in %llu ms", (unsigned long long)progress_ms(&p));
    return ANSWER_YES;
}

/* ---- the whole */

/* The command again, with the value that was meant under that key. */
static void put_meant(const struct cli *c, const char *key, const char *value, struct strbuf *out)
{
    size_t len = strlen(key);

    strbuf_printf(out, "ambit %s", c->command->name);
    for (unsigned i = 0; i < c->word_count; i++) {
        const char *word = c->words[i];
        strbuf_putc(out, ' ');
        if (strncmp(word, key, len) == 0 && word[len] == '=') {
            strbuf_printf(out, "%s=%s", key, value);
        } else {
            fix_put_word(word, out);
        }
    }
}

/* Before anything is sent: the mesh would not do what somebody believes it does. */
static enum answer check_values(struct cli *c, const struct json *patch)
{
    AUTO(strbuf) struct strbuf fix = {0};
    const char *key = NULL;
    const char *value = NULL;
    struct diag why = {0};

    if (label_change_check(patch, &key, &value, &why) == 0) {
        return ANSWER_YES;
    }
    if (value) {
        put_meant(c, key, value, &fix);
    }
    return cli_fail(c, ANSWER_USAGE, value ? strbuf_text(&fix) : "ambit help label", "%s",
                    why.text);
}

static struct json *say(struct cli *c, const struct subject *s, const struct json *patch,
                        const char *result, const char *sentence)
{
    AUTO(strbuf) struct strbuf effects = {0};
    struct json *did = cli_did(c, s->ns, s->name, result);
    struct json *lines = json_make_array(did, "effects");
    struct slice rest;
    struct slice line;

    say_effects(s, &effects);
    label_change_hints(patch, &effects);
    cli_say(c, "%s/%s %s", s->kind->singular, s->name, sentence);
    json_set_str(did, "kind", s->kind->kind);
    rest = slice_of(strbuf_text(&effects));
    while (slice_cut(rest, '\n', &line, &rest)) {
        json_append(lines, json_new_strn(line.p, line.len));
        cli_say(c, "%.*s", (int)line.len, line.p);
    }
    return did;
}

static enum answer change(struct cli *c, struct api *a, struct subject *s, const struct json *patch)
{
    const struct json *old = json_at(s->object, "metadata.labels");
    const char *conflict = label_change_conflict(old, patch);
    struct diag why = {0};

    if (conflict && !args_has(&c->args, "overwrite")) {
        AUTO(strbuf) struct strbuf fix = {0};
        fix_again(c, false, "--overwrite", &fix);
        return cli_fail(c, ANSWER_NO, strbuf_text(&fix), "%s/%s already has %s=%s",
                        s->kind->singular, s->name, conflict,
                        json_str(json_get(old, conflict), ""));
    }
    bool needed = label_change_is_needed(old, patch);
    bool dry = args_has(&c->args, "dry-run");
    if (needed && !dry && send_patch(a, s, patch, &why) < 0) {
        return cli_fail_diag(c, NULL, &why);
    }
    struct json *did = !needed ? say(c, s, patch, "unchanged", "already has these labels")
                       : dry   ? say(c, s, patch, "dry-run", "would be labelled")
                               : say(c, s, patch, "labelled", "labelled");
    return args_has(&c->args, "wait") && !dry ? wait_blocking(c, a, s, did) : ANSWER_YES;
}

static enum answer run(struct cli *c)
{
    AUTO(api) struct api *a = NULL;
    AUTO(json) struct json *patch = NULL;
    struct diag why = {0};
    struct subject s = {.kind = resource_kind_find(c->args.operands[0], &why),
                        .name = c->args.operands[1]};

    if (!s.kind ||
        label_change_read(c->args.operands + 2, c->args.operand_count - 2, &patch, &why) < 0) {
        return cli_fail(c, ANSWER_USAGE, "ambit help label", "%s", why.text);
    }
    if (check_values(c, patch) != ANSWER_YES) {
        return ANSWER_USAGE;
    }
    if (api_open_blocking(c, &a, &why) < 0) {
        return api_fail(c, &why);
    }
    s.ns = s.kind->resource.namespaced ? api_namespace(a) : "";
    int r = load(a, &s, patch, &why);
    enum answer answer = r < 0 ? cli_fail_diag(c, NULL, &why) : change(c, a, &s, patch);
    subject_fini(&s);
    return answer;
}

static const struct arg_option own[] = {
    {"namespace", 'n', ARG_TEXT, "NAMESPACE", NULL, "of the object; otherwise the context's"},
    {"overwrite", 0, ARG_FLAG, NULL, NULL, "change labels that have another value"},
    {"dry-run", 0, ARG_FLAG, NULL, NULL, "only say what would happen"},
    {"wait", 'w', ARG_FLAG, NULL, NULL, "come back when every pod has joined or left"},
    {0}};
static const struct arg_option *const tables[] = {
    own, options_result, options_kube, options_timeout, options_common, NULL};

const struct command cmd_label = {
    .name = "label",
    .operands = "KIND NAME KEY=VALUE|KEY-...",
    .summary = "label an object, and say what that means for the mesh",
    .about =
        "The label istio.io/dataplane-mode=ambient on a namespace or a pod takes it into the mesh: "
        "its applications are not restarted, new connections are mutual TLS from then on, and "
        "existing ones stay as they are. KEY- takes a label off. istio.io/use-waypoint=NAME sends "
        "traffic through a waypoint. Of labels that the mesh reads, a value that means nothing is "
        "refused.",
    .examples =
        "ambit label ns shop istio.io/dataplane-mode=ambient --wait\ttake a namespace into the "
        "mesh\n"
        "ambit label ns shop istio.io/dataplane-mode- --dry-run\twhat would taking it out mean?\n"
        "ambit label pod web-1 -n shop istio.io/dataplane-mode=none\tkeep one pod out\n"
        "ambit label ns shop istio.io/use-waypoint=waypoint --dry-run\twhose traffic would go "
        "through it?",
    .tables = tables,
    .operands_min = 3,
    .operands_max = OPERANDS_ANY,
    .run = run};
