/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/waypoint_object.h"

#include <string.h>

#include "base/str.h"
#include "cli/span.h"
#include "codec/json.h"

static const char class_name[] = "istio-waypoint";
static const char label_for[] = "istio.io/waypoint-for";
static const char label_revision[] = "istio.io/rev";
static const char label_gateway[] = "gateway.networking.k8s.io/gateway-name";
static const char note_replicas[] = "ambit.io/replicas";

enum { HBONE_PORT = 15008 };

static bool is(const char *a, const char *b)
{
    return strcmp(a, b) == 0;
}

static const char *label(const struct json *o, const char *key, const char *fallback)
{
    return json_str(json_get(json_at(o, "metadata.labels"), key), fallback);
}

/* ---- asking for one */

static struct json *listener(void)
{
    struct json *l = json_new_object();

    json_set_str(l, "name", "mesh");
    json_set_int(l, "port", HBONE_PORT);
    json_set_str(l, "protocol", "HBONE");
    return l;
}

struct json *waypoint_gateway(const struct waypoint_wish *w)
{
    struct json *g = json_new_object();

    json_set_str(g, "apiVersion", "gateway.networking.k8s.io/v1");
    json_set_str(g, "kind", "Gateway");
    struct json *metadata = json_make_object(g, "metadata");
    struct json *spec = json_make_object(g, "spec");
    json_set_str(metadata, "name", w->name);
    json_set_str(metadata, "namespace", w->ns);
    if (w->traffic) {
        json_set_str(json_make_object(metadata, "labels"), label_for, w->traffic);
    }
    if (w->revision) {
        json_set_str(json_make_object(metadata, "labels"), label_revision, w->revision);
    }
    if (w->replicas) {
        json_set_str(json_make_object(metadata, "annotations"), note_replicas, w->replicas);
    }
    json_set_str(spec, "gatewayClassName", class_name);
    json_append(json_make_array(spec, "listeners"), listener());
    return g;
}

bool waypoint_is_one(const struct json *gateway)
{
    return is(json_str_at(gateway, "spec.gatewayClassName", ""), class_name);
}

/* ---- what it says */

/* Programmed, else the last one. */
static const struct json *condition(const struct json *gateway)
{
    const struct json *all = json_at(gateway, "status.conditions");
    const struct json *found = NULL;

    for (size_t i = 0; i < json_count(all); i++) {
        found = json_item(all, i);
        if (is(json_str_at(found, "type", ""), "Programmed")) {
            return found;
        }
    }
    return found;
}

static bool is_ready_pod(const struct json *pod)
{
    const struct json *all = json_at(pod, "status.conditions");

    for (size_t i = 0; i < json_count(all); i++) {
        const struct json *c = json_item(all, i);
        if (is(json_str_at(c, "type", ""), "Ready") && is(json_str_at(c, "status", ""), "True")) {
            return true;
        }
    }
    return false;
}

/* Why a replica is not ready, where its node says it. */
static const char *trouble_of(const struct json *pod)
{
    const struct json *all = json_at(pod, "status.conditions");

    for (size_t i = 0; i < json_count(all); i++) {
        if (is(json_str_at(json_item(all, i), "type", ""), "Ready")) {
            return json_str_at(json_item(all, i), "message", "");
        }
    }
    return "";
}

static void count_pods(const struct json *gateway, const struct json *pods, struct json *row)
{
    const char *ns = json_str_at(gateway, "metadata.namespace", "");
    const char *name = json_str_at(gateway, "metadata.name", "");
    AUTO(strbuf) struct strbuf text = {0};
    unsigned all = 0;
    unsigned ready = 0;

    for (size_t i = 0; i < json_count(pods); i++) {
        const struct json *p = json_item(pods, i);
        if (is(json_str_at(p, "metadata.namespace", ""), ns) &&
            is(label(p, label_gateway, ""), name) && !json_at(p, "metadata.deletionTimestamp")) {
            all++;
            ready += is_ready_pod(p);
            if (*trouble_of(p)) {
                json_set_str(row, "trouble", trouble_of(p));
            }
        }
    }
    strbuf_printf(&text, "%u/%u", ready, all);
    json_set_str(row, "replicas", strbuf_text(&text));
    json_set_bool(row, "has_replica", ready > 0);
}

static void set_addresses(const struct json *gateway, struct json *row)
{
    const struct json *all = json_at(gateway, "status.addresses");
    struct json *list = json_make_array(row, "addresses");

    for (size_t i = 0; i < json_count(all); i++) {
        json_append_str(list, json_str_at(json_item(all, i), "value", ""));
    }
}

static void set_condition(const struct json *gateway, struct json *row)
{
    const struct json *c = condition(gateway);
    const char *type = json_str_at(c, "type", "");
    const char *status = json_str_at(c, "status", "Unknown");

    json_set_str(row, "type", type);
    json_set_str(row, "status", status);
    json_set_str(row, "programmed", is(type, "Programmed") ? status : "Unknown");
    json_set_str(row, "reason", json_str_at(c, "reason", ""));
    json_set_str(row, "message",
                 json_str_at(c, "message", c ? "" : "the control plane has not seen it yet"));
}

struct json *waypoint_row(const struct json *gateway, const struct json *pods)
{
    struct json *row = json_new_object();

    json_set_str(row, "namespace", json_str_at(gateway, "metadata.namespace", ""));
    json_set_str(row, "name", json_str_at(gateway, "metadata.name", ""));
    json_set_str(row, "revision", label(gateway, label_revision, "default"));
    json_set_str(row, "traffic", label(gateway, label_for, "service"));
    set_condition(gateway, row);
    count_pods(gateway, pods, row);
    set_addresses(gateway, row);
    bool ready =
        is(json_str_at(row, "programmed", ""), "True") && json_bool_at(row, "has_replica", false);
    (void)json_remove(row, "has_replica");
    json_set_str(row, "verdict", ready ? "ready" : "not ready");
    return row;
}

bool waypoint_row_is_ready(const struct json *row)
{
    return is(json_str_at(row, "verdict", ""), "ready");
}

void waypoint_verdict(const struct json *rows, struct strbuf *out)
{
    size_t count = json_count(rows);
    size_t bad = 0;

    for (size_t i = 0; i < count; i++) {
        bad += !waypoint_row_is_ready(json_item(rows, i));
    }
    if (count == 0) {
        strbuf_puts(out, "no waypoints");
    } else if (bad == 0) {
        strbuf_printf(out, "OK: %zu waypoint%s, all ready", count, span_plural(count));
    } else {
        strbuf_printf(out, "PROBLEM: %zu of %zu waypoint%s not ready", bad, count,
                      span_plural(count));
    }
}

void waypoint_explain(const struct json *rows, struct strbuf *out)
{
    for (size_t i = 0; i < json_count(rows); i++) {
        const struct json *row = json_item(rows, i);
        const char *ns = json_str_at(row, "namespace", "");
        const char *name = json_str_at(row, "name", "");
        bool programmed = is(json_str_at(row, "programmed", ""), "True");
        if (waypoint_row_is_ready(row)) {
            continue;
        }
        strbuf_printf(out, "%s/%s: ", ns, name);
        if (programmed) {
            const char *trouble = json_str_at(row, "trouble", "");
            strbuf_printf(out, "no replica is ready (%s)%s%s\n", json_str_at(row, "replicas", ""),
                          *trouble ? ": " : "", trouble);
        } else {
            strbuf_printf(out, "%s%s%s\n", json_str_at(row, "reason", ""),
                          *json_str_at(row, "reason", "") ? ": " : "",
                          json_str_at(row, "message", ""));
        }
        strbuf_printf(out, "  fix: ambit get pods -n %s -l %s=%s -o yaml\n", ns, label_gateway,
                      name);
        return;
    }
}
