/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/waypoint_effect.h"

#include <string.h>

#include "base/str.h"
#include "cli/span.h"
#include "cli/waypoint_object.h"
#include "codec/json.h"

static const char use_label[] = "istio.io/use-waypoint";
static const char use_ns_label[] = "istio.io/use-waypoint-namespace";
static const char mode_label[] = "istio.io/dataplane-mode";

enum { NAMES_MAX = 8 };

static bool is(const char *a, const char *b)
{
    return strcmp(a, b) == 0;
}

static const char *label(const struct json *labels, const char *key)
{
    return json_str(json_get(labels, key), "");
}

const char *waypoint_effect_named(const struct json *labels, const char *own_ns,
                                  const char **out_ns)
{
    const char *name = label(labels, use_label);

    if (!*name || is(name, "none")) {
        return NULL;
    }
    *out_ns = json_str(json_get(labels, use_ns_label), own_ns);
    return name;
}

/* Services of the namespace that follow its label: those without one of their own (contract 3.4.2). */
static unsigned followers(const struct json *services, struct strbuf *names)
{
    unsigned n = 0;

    for (size_t i = 0; i < json_count(services); i++) {
        const struct json *s = json_item(services, i);
        const struct json *labels = json_at(s, "metadata.labels");
        if (json_get(labels, use_label) || json_get(labels, "gateway.istio.io/managed")) {
            continue;
        }
        n++;
        if (n <= NAMES_MAX) {
            strbuf_printf(names, "%s%s", n > 1 ? ", " : "", json_str_at(s, "metadata.name", ""));
        } else if (n == NAMES_MAX + 1) {
            strbuf_puts(names, ", ...");
        }
    }
    return n;
}

static void say_whose(const struct waypoint_effect *e, const char *how, struct strbuf *out)
{
    AUTO(strbuf) struct strbuf names = {0};
    unsigned n = followers(e->services, &names);

    if (!is(e->kind, "Namespace")) {
        strbuf_printf(out, "its traffic %s\n", how);
    } else if (n == 0) {
        strbuf_puts(out, "no service is there that would follow this label\n");
    } else {
        strbuf_printf(out, "traffic of %u service%s %s: %s\n", n, span_plural(n), how,
                      strbuf_text(&names));
    }
}

static void say_not_there(const char *ns, const char *name, struct strbuf *out)
{
    strbuf_printf(out,
                  "there is no waypoint %s/%s: until it is ready, services that layer-7 policies "
                  "protect are refused, others are reached directly\n"
                  "  fix: ambit waypoint apply -n %s --name %s --wait\n",
                  ns, name, ns, name);
}

/* A waypoint takes what it was made for (contract 3.4.3). */
static bool takes(const struct waypoint_effect *e)
{
    const char *traffic = json_str_at(e->waypoint, "traffic", "service");
    bool is_workload = is(e->kind, "Pod") || is(e->kind, "WorkloadEntry");

    return is(traffic, "all") || is(traffic, is_workload ? "workload" : "service") ||
           (is(e->kind, "Namespace") && is(traffic, "workload"));
}

static void say_mismatch(const struct waypoint_effect *e, const char *ns, const char *name,
                         struct strbuf *out)
{
    strbuf_printf(out,
                  "waypoint %s/%s is for traffic to %ss: this label has no effect here\n"
                  "  fix: ambit waypoint apply -n %s --name %s --for all\n",
                  ns, name, json_str_at(e->waypoint, "traffic", "service"), ns, name);
}

static void say_new(const struct waypoint_effect *e, const char *ns, const char *name,
                    struct strbuf *out)
{
    AUTO(strbuf) struct strbuf how = {0};

    if (e->waypoint && !takes(e)) {
        say_mismatch(e, ns, name, out);
        return;
    }
    strbuf_printf(&how, "will go through waypoint %s/%s", ns, name);
    say_whose(e, strbuf_text(&how), out);
    if (!e->waypoint) {
        say_not_there(ns, name, out);
    } else if (!waypoint_row_is_ready(e->waypoint)) {
        strbuf_printf(out,
                      "waypoint %s/%s is not ready yet (%s)\n"
                      "  fix: ambit waypoint status %s -n %s --wait\n",
                      ns, name, json_str_at(e->waypoint, "reason", ""), name, ns);
    }
    strbuf_puts(out, "existing connections stay as they are; pods see the waypoint's identity from "
                     "then on, so policies by client belong to the service (targetRefs)\n");
    if (is(e->kind, "Namespace") && !is(label(e->after, mode_label), "ambient")) {
        strbuf_printf(out,
                      "the namespace is not in the mesh: its own clients do not reach waypoints\n"
                      "  fix: ambit label ns %s %s=ambient\n",
                      e->ns, mode_label);
    }
}

void waypoint_effect_say(const struct waypoint_effect *e, struct strbuf *out)
{
    const char *ns_before = "";
    const char *ns_after = "";
    const char *before = waypoint_effect_named(e->before, e->ns, &ns_before);
    const char *after = waypoint_effect_named(e->after, e->ns, &ns_after);
    bool same = before && after && is(before, after) && is(ns_before, ns_after);

    if (same || (!before && !after)) {
        return;
    }
    if (after) {
        say_new(e, ns_after, after, out);
        return;
    }
    AUTO(strbuf) struct strbuf how = {0};
    strbuf_printf(&how, "no longer goes through waypoint %s/%s", ns_before, before);
    say_whose(e, strbuf_text(&how), out);
    strbuf_puts(out, "routes and layer-7 policies of services without a waypoint route nothing; "
                     "those policies deny\n");
}
