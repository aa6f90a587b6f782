/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/columns.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "apiserver/meta.h"
#include "base/ascii.h"
#include "base/str.h"
#include "codec/json.h"

static struct json *text_or(const char *text, const char *otherwise)
{
    return json_new_str(text[0] != '\0' ? text : otherwise);
}

static struct json *take_text(struct strbuf *b, const char *otherwise)
{
    struct json *v = text_or(strbuf_text(b), otherwise);

    strbuf_fini(b);
    return v;
}

/* Two units at most, as kubectl's other tables print ages. */
static struct json *age_text(int64_t s)
{
    struct strbuf b = {0};
    int64_t m = s / 60;
    int64_t h = m / 60;
    int64_t d = h / 24;

    if (s < 0) {
        strbuf_puts(&b, "<invalid>");
    } else if (s < 120) {
        strbuf_printf(&b, "%" PRId64 "s", s);
    } else if (m < 10) {
        strbuf_printf(&b, s % 60 > 0 ? "%" PRId64 "m%" PRId64 "s" : "%" PRId64 "m", m, s % 60);
    } else if (h < 3) {
        strbuf_printf(&b, "%" PRId64 "m", m);
    } else if (h < 8) {
        strbuf_printf(&b, m % 60 > 0 ? "%" PRId64 "h%" PRId64 "m" : "%" PRId64 "h", h, m % 60);
    } else if (h < 48) {
        strbuf_printf(&b, "%" PRId64 "h", h);
    } else if (d < 8) {
        strbuf_printf(&b, h % 24 > 0 ? "%" PRId64 "d%" PRId64 "h" : "%" PRId64 "d", d, h % 24);
    } else {
        strbuf_printf(&b, "%" PRId64 "d", d);
    }
    return take_text(&b, "");
}

static struct json *since(const struct json *o, const char *path, int64_t now_s)
{
    int64_t then = meta_parse_time(json_str_at(o, path, ""));

    return then < 0 ? json_new_str("<unknown>") : age_text(now_s - then);
}

static struct json *cell_age(const struct json *o, int64_t now_s)
{
    return since(o, "metadata.creationTimestamp", now_s);
}

/* "True" or what the condition of that type says; NULL when there is none. */
static const char *condition(const struct json *o, const char *type)
{
    const struct json *all = json_at(o, "status.conditions");

    for (size_t i = 0; i < json_count(all); i++) {
        const struct json *c = json_item(all, i);
        if (strcmp(json_str_at(c, "type", ""), type) == 0) {
            return json_str_at(c, "status", "Unknown");
        }
    }
    return NULL;
}

static struct json *cell_condition(const struct json *o, const char *type)
{
    const char *status = condition(o, type);

    return status ? json_new_str(status) : json_new_null();
}

/* ---- pods */

static struct json *cell_pod_ready(const struct json *o, int64_t now_s)
{
    const struct json *statuses = json_at(o, "status.containerStatuses");
    size_t all = json_count(json_at(o, "spec.containers"));
    size_t ready = 0;
    struct strbuf b = {0};

    (void)now_s;
    for (size_t i = 0; i < json_count(statuses); i++) {
        ready += json_bool_at(json_item(statuses, i), "ready", false);
    }
    if (!statuses) { /* a workload without a container runtime has the condition alone */
        const char *status = condition(o, "Ready");
        ready = status && strcmp(status, "True") == 0 ? all : 0;
    }
    strbuf_printf(&b, "%zu/%zu", ready, all);
    return take_text(&b, "");
}

static struct json *cell_pod_status(const struct json *o, int64_t now_s)
{
    (void)now_s;
    if (json_at(o, "metadata.deletionTimestamp")) {
        return json_new_str("Terminating");
    }
    return json_new_str(json_str_at(o, "status.reason", json_str_at(o, "status.phase", "Unknown")));
}

static struct json *cell_pod_restarts(const struct json *o, int64_t now_s)
{
    const struct json *statuses = json_at(o, "status.containerStatuses");
    int64_t n = 0;
    struct strbuf b = {0};

    (void)now_s;
    for (size_t i = 0; i < json_count(statuses); i++) {
        n += json_int_at(json_item(statuses, i), "restartCount", 0);
    }
    strbuf_printf(&b, "%" PRId64, n);
    return take_text(&b, "");
}

static struct json *cell_pod_ip(const struct json *o, int64_t now_s)
{
    (void)now_s;
    return text_or(json_str_at(o, "status.podIP", ""), "<none>");
}

static struct json *cell_pod_node(const struct json *o, int64_t now_s)
{
    (void)now_s;
    return text_or(json_str_at(o, "spec.nodeName", ""), "<none>");
}

static struct json *cell_none(const struct json *o, int64_t now_s)
{
    (void)o;
    (void)now_s;
    return json_new_str("<none>");
}

/* ---- services */

static struct json *cell_service_ip(const struct json *o, int64_t now_s)
{
    (void)now_s;
    return text_or(json_str_at(o, "spec.clusterIP", ""), "<none>");
}

static struct json *join(const struct json *list, const char *path, const char *otherwise)
{
    struct strbuf b = {0};

    for (size_t i = 0; i < json_count(list); i++) {
        const struct json *item = json_item(list, i);
        strbuf_puts(&b, i > 0 ? "," : "");
        strbuf_puts(&b, json_str(path ? json_at(item, path) : item, ""));
    }
    return take_text(&b, otherwise);
}

static struct json *cell_service_external(const struct json *o, int64_t now_s)
{
    const char *type = json_str_at(o, "spec.type", "");

    (void)now_s;
    if (strcmp(type, "ExternalName") == 0) {
        return json_new_str(json_str_at(o, "spec.externalName", ""));
    }
    if (strcmp(type, "LoadBalancer") == 0 && json_count(json_at(o, "spec.externalIPs")) == 0) {
        return join(json_at(o, "status.loadBalancer.ingress"), "ip", "<pending>");
    }
    return join(json_at(o, "spec.externalIPs"), NULL, "<none>");
}

static struct json *cell_service_ports(const struct json *o, int64_t now_s)
{
    const struct json *ports = json_at(o, "spec.ports");
    struct strbuf b = {0};

    (void)now_s;
    for (size_t i = 0; i < json_count(ports); i++) {
        const struct json *p = json_item(ports, i);
        int64_t node_port = json_int_at(p, "nodePort", 0);
        strbuf_printf(&b, "%s%" PRId64, i > 0 ? "," : "", json_int_at(p, "port", 0));
        if (node_port > 0) {
            strbuf_printf(&b, ":%" PRId64, node_port);
        }
        strbuf_printf(&b, "/%s", json_str_at(p, "protocol", "TCP"));
    }
    return take_text(&b, "<none>");
}

static struct json *cell_service_selector(const struct json *o, int64_t now_s)
{
    struct strbuf b = {0};

    (void)now_s;
    for (struct json_iter it = {0}; json_each(json_at(o, "spec.selector"), &it);) {
        strbuf_printf(&b, "%s%s=%s", b.len > 0 ? "," : "", it.key, json_str(it.value, ""));
    }
    return take_text(&b, "<none>");
}

/* ---- others */

static struct json *cell_data_count(const struct json *o, int64_t now_s)
{
    (void)now_s;
    return json_new_int(
        (int64_t)(json_count(json_get(o, "data")) + json_count(json_get(o, "binaryData"))));
}

static struct json *cell_node_status(const struct json *o, int64_t now_s)
{
    const char *ready = condition(o, "Ready");
    struct strbuf b = {0};

    (void)now_s;
    strbuf_puts(&b, !ready ? "Unknown" : strcmp(ready, "True") == 0 ? "Ready" : "NotReady");
    if (json_bool_at(o, "spec.unschedulable", false)) {
        strbuf_puts(&b, ",SchedulingDisabled");
    }
    return take_text(&b, "");
}

static struct json *node_address(const struct json *o, const char *type)
{
    const struct json *all = json_at(o, "status.addresses");

    for (size_t i = 0; i < json_count(all); i++) {
        if (strcmp(json_str_at(json_item(all, i), "type", ""), type) == 0) {
            return json_new_str(json_str_at(json_item(all, i), "address", ""));
        }
    }
    return json_new_str("<none>");
}

static struct json *cell_node_internal(const struct json *o, int64_t now_s)
{
    (void)now_s;
    return node_address(o, "InternalIP");
}

static struct json *cell_node_external(const struct json *o, int64_t now_s)
{
    (void)now_s;
    return node_address(o, "ExternalIP");
}

static struct json *cell_last_seen(const struct json *o, int64_t now_s)
{
    return since(o, json_at(o, "lastTimestamp") ? "lastTimestamp" : "metadata.creationTimestamp",
                 now_s);
}

static struct json *cell_first_seen(const struct json *o, int64_t now_s)
{
    return since(o, json_at(o, "firstTimestamp") ? "firstTimestamp" : "metadata.creationTimestamp",
                 now_s);
}

static struct json *cell_event_object(const struct json *o, int64_t now_s)
{
    struct strbuf b = {0};

    (void)now_s;
    for (const char *c = json_str_at(o, "involvedObject.kind", ""); *c != '\0'; c++) {
        strbuf_putc(&b, ascii_lower(*c));
    }
    strbuf_printf(&b, "/%s", json_str_at(o, "involvedObject.name", ""));
    return take_text(&b, "");
}

static struct json *cell_slice_ports(const struct json *o, int64_t now_s)
{
    const struct json *ports = json_get(o, "ports");
    struct strbuf b = {0};

    (void)now_s;
    for (size_t i = 0; i < json_count(ports); i++) {
        strbuf_printf(&b, "%s%" PRId64, i > 0 ? "," : "",
                      json_int_at(json_item(ports, i), "port", 0));
    }
    return take_text(&b, "<unset>");
}

static struct json *cell_slice_endpoints(const struct json *o, int64_t now_s)
{
    const struct json *all = json_get(o, "endpoints");
    struct strbuf b = {0};

    (void)now_s;
    for (size_t i = 0; i < json_count(all) && i < 3; i++) {
        strbuf_puts(&b, i > 0 ? "," : "");
        strbuf_puts(&b, json_str(json_item(json_get(json_item(all, i), "addresses"), 0), ""));
    }
    if (json_count(all) > 3) {
        strbuf_printf(&b, " + %zu more...", json_count(all) - 3);
    }
    return take_text(&b, "<unset>");
}

/* "ready/wanted". */
static struct json *cell_deployment_ready(const struct json *o, int64_t now_s)
{
    struct strbuf b = {0};

    (void)now_s;
    strbuf_printf(&b, "%" PRId64 "/%" PRId64, json_int_at(o, "status.readyReplicas", 0),
                  json_int_at(o, "spec.replicas", 0));
    return take_text(&b, "");
}

static struct json *cell_updated(const struct json *o, int64_t now_s)
{
    (void)now_s;
    return json_new_int(json_int_at(o, "status.updatedReplicas", 0));
}

static struct json *cell_available(const struct json *o, int64_t now_s)
{
    (void)now_s;
    return json_new_int(json_int_at(o, "status.availableReplicas", 0));
}

static struct json *cell_programmed(const struct json *o, int64_t now_s)
{
    (void)now_s;
    return cell_condition(o, "Programmed");
}

static struct json *cell_accepted(const struct json *o, int64_t now_s)
{
    (void)now_s;
    return cell_condition(o, "Accepted");
}

static struct json *cell_gateway_address(const struct json *o, int64_t now_s)
{
    const struct json *all = json_at(o, "status.addresses");

    (void)now_s;
    return json_count(all) > 0 ? join(all, "value", "") : json_new_null();
}

#define NAME                                                                                       \
    {                                                                                              \
        "Name", "string", "name", 0, "metadata.name", NULL                                         \
    }
#define AGE                                                                                        \
    {                                                                                              \
        "Age", "string", "", 0, NULL, cell_age                                                     \
    }
#define DATE                                                                                       \
    {                                                                                              \
        "Age", "date", "", 0, NULL, cell_age                                                       \
    }
#define END                                                                                        \
    {                                                                                              \
        0                                                                                          \
    }

const struct column columns_plain[] = {NAME, AGE, END};
const struct column columns_dated[] = {NAME, DATE, END};
const struct column columns_pod[] = {NAME,
                                     {"Ready", "string", "", 0, NULL, cell_pod_ready},
                                     {"Status", "string", "", 0, NULL, cell_pod_status},
                                     {"Restarts", "string", "", 0, NULL, cell_pod_restarts},
                                     AGE,
                                     {"IP", "string", "", 1, NULL, cell_pod_ip},
                                     {"Node", "string", "", 1, NULL, cell_pod_node},
                                     {"Nominated Node", "string", "", 1, NULL, cell_none},
                                     {"Readiness Gates", "string", "", 1, NULL, cell_none},
                                     END};
const struct column columns_service[] = {
    NAME,
    {"Type", "string", "", 0, "spec.type", NULL},
    {"Cluster-IP", "string", "", 0, NULL, cell_service_ip},
    {"External-IP", "string", "", 0, NULL, cell_service_external},
    {"Port(s)", "string", "", 0, NULL, cell_service_ports},
    AGE,
    {"Selector", "string", "", 1, NULL, cell_service_selector},
    END};
const struct column columns_namespace[] = {
    NAME, {"Status", "string", "", 0, "status.phase", NULL}, AGE, END};
const struct column columns_data[] = {
    NAME, {"Data", "string", "", 0, NULL, cell_data_count}, AGE, END};
const struct column columns_secret[] = {NAME,
                                        {"Type", "string", "", 0, "type", NULL},
                                        {"Data", "string", "", 0, NULL, cell_data_count},
                                        AGE,
                                        END};
const struct column columns_node[] = {
    NAME,
    {"Status", "string", "", 0, NULL, cell_node_status},
    {"Roles", "string", "", 0, NULL, cell_none},
    AGE,
    {"Version", "string", "", 0, "status.nodeInfo.kubeletVersion", NULL},
    {"Internal-IP", "string", "", 1, NULL, cell_node_internal},
    {"External-IP", "string", "", 1, NULL, cell_node_external},
    {"OS-Image", "string", "", 1, "status.nodeInfo.osImage", NULL},
    {"Kernel-Version", "string", "", 1, "status.nodeInfo.kernelVersion", NULL},
    {"Container-Runtime", "string", "", 1, "status.nodeInfo.containerRuntimeVersion", NULL},
    END};
const struct column columns_event[] = {
    {"Last Seen", "string", "", 0, NULL, cell_last_seen},
    {"Type", "string", "", 0, "type", NULL},
    {"Reason", "string", "", 0, "reason", NULL},
    {"Object", "string", "", 0, NULL, cell_event_object},
    {"Subobject", "string", "", 1, "involvedObject.fieldPath", NULL},
    {"Source", "string", "", 1, "source.component", NULL},
    {"Message", "string", "", 0, "message", NULL},
    {"First Seen", "string", "", 1, NULL, cell_first_seen},
    {"Count", "string", "", 1, "count", NULL},
    {"Name", "string", "name", 1, "metadata.name", NULL},
    END};
const struct column columns_endpoint_slice[] = {
    NAME,
    {"AddressType", "string", "", 0, "addressType", NULL},
    {"Ports", "string", "", 0, NULL, cell_slice_ports},
    {"Endpoints", "string", "", 0, NULL, cell_slice_endpoints},
    AGE,
    END};
const struct column columns_deployment[] = {NAME,
                                            {"Ready", "string", "", 0, NULL, cell_deployment_ready},
                                            {"Up-to-date", "integer", "", 0, NULL, cell_updated},
                                            {"Available", "integer", "", 0, NULL, cell_available},
                                            AGE,
                                            END};
const struct column columns_lease[] = {
    NAME, {"Holder", "string", "", 0, "spec.holderIdentity", NULL}, AGE, END};
const struct column columns_crd[] = {
    NAME, {"Created At", "date", "", 0, "metadata.creationTimestamp", NULL}, END};
const struct column columns_authorization_policy[] = {
    NAME, {"Action", "string", "", 0, "spec.action", NULL}, DATE, END};
const struct column columns_peer_authentication[] = {
    NAME, {"Mode", "string", "", 0, "spec.mtls.mode", NULL}, DATE, END};
const struct column columns_gateway[] = {NAME,
                                         {"Class", "string", "", 0, "spec.gatewayClassName", NULL},
                                         {"Address", "string", "", 0, NULL, cell_gateway_address},
                                         {"Programmed", "string", "", 0, NULL, cell_programmed},
                                         DATE,
                                         END};
const struct column columns_gateway_class[] = {
    NAME,
    {"Controller", "string", "", 0, "spec.controllerName", NULL},
    {"Accepted", "string", "", 0, NULL, cell_accepted},
    DATE,
    {"Description", "string", "", 1, "spec.description", NULL},
    END};
const struct column columns_route[] = {
    NAME, {"Hostnames", "string", "", 0, "spec.hostnames", NULL}, DATE, END};
const struct column columns_service_entry[] = {
    NAME,
    {"Hosts", "string", "", 0, "spec.hosts", NULL},
    {"Location", "string", "", 0, "spec.location", NULL},
    {"Resolution", "string", "", 0, "spec.resolution", NULL},
    DATE,
    END};
const struct column columns_workload_entry[] = {
    NAME, DATE, {"Address", "string", "", 0, "spec.address", NULL}, END};
const struct column columns_destination_rule[] = {
    NAME, {"Host", "string", "", 0, "spec.host", NULL}, DATE, END};
