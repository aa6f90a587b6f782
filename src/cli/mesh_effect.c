/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/mesh_effect.h"

#include "cli/resource_kind.h"
#include "codec/json.h"

static const char mode_label[] = "istio.io/dataplane-mode";

static const char *label(const struct json *labels, const char *key)
{
    return json_str(json_get(labels, key), "");
}

static bool is(const char *a, const char *b)
{
    return strcmp(a, b) == 0;
}

bool mesh_captures(const struct json *namespace_labels, const struct json *labels,
                   const struct json *pod)
{
    const char *phase = json_str_at(pod, "status.phase", "");
    const char *own = label(labels, mode_label);

    if (json_bool_at(pod, "spec.hostNetwork", false) || is(phase, "Succeeded") ||
        is(phase, "Failed") ||
        json_get(json_at(pod, "metadata.annotations"), "sidecar.istio.io/status")) {
        return false;
    }
    return is(own, "ambient") ||
           (is(label(namespace_labels, mode_label), "ambient") && !is(own, "none"));
}

struct tally {
    unsigned joins;
    unsigned leaves;
};

/* A pod's own labels change only when it is what is being labelled. */
static struct tally count(bool is_namespace, const struct json *old, const struct json *labels,
                          const struct json *namespace_labels, const struct json *pods)
{
    struct tally t = {0, 0};

    for (size_t i = 0; i < json_count(pods); i++) {
        const struct json *pod = json_item(pods, i);
        const struct json *own = json_at(pod, "metadata.labels");
        bool before =
            is_namespace ? mesh_captures(old, own, pod) : mesh_captures(namespace_labels, old, pod);
        bool after = is_namespace ? mesh_captures(labels, own, pod)
                                  : mesh_captures(namespace_labels, labels, pod);
        t.joins += !before && after;
        t.leaves += before && !after;
    }
    return t;
}

static void say_capture(const struct tally *t, struct strbuf *out)
{
    if (t->joins > 0) {
        strbuf_printf(out,
                      "%u running pod%s will be captured; existing connections stay as they are\n",
                      t->joins, t->joins == 1 ? "" : "s");
    }
    if (t->leaves > 0) {
        strbuf_printf(out,
                      "%u running pod%s will leave the mesh; new connections are plain, those that "
                      "the proxy carries may end in peace (ten minutes at most)\n",
                      t->leaves, t->leaves == 1 ? "" : "s");
    }
}

static void say_mode(const char *before, const char *after, const struct tally *t,
                     struct strbuf *out)
{
    if (is(before, after)) {
        return;
    }
    say_capture(t, out);
    if (t->joins == 0 && t->leaves == 0) {
        strbuf_puts(out, "no running pod joins or leaves the mesh by this\n");
    }
}

void mesh_effect_say(const struct resource_kind *k, const struct json *object,
                     const struct json *labels, const struct json *namespace_labels,
                     const struct json *pods, struct strbuf *out)
{
    const struct json *old = json_at(object, "metadata.labels");
    bool is_namespace = is(k->kind, "Namespace");

    if (is_namespace || is(k->kind, "Pod")) {
        struct tally t = count(is_namespace, old, labels, namespace_labels, pods);
        say_mode(label(old, mode_label), label(labels, mode_label), &t, out);
    }
}
