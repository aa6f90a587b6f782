/* SPDX-License-Identifier: Apache-2.0 */
#include "node/pod_json.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"

#define LABEL_MODE           "istio.io/dataplane-mode"
#define ANNOTATION_REDIRECT  "ambient.istio.io/redirection"
#define ANNOTATION_BYPASS    "ambient.istio.io/bypass-inbound-capture"
#define ANNOTATION_DNS       "ambient.istio.io/dns-capture"
#define ANNOTATION_VIRTUAL   "istio.io/reroute-virtual-interfaces"
#define ANNOTATION_SIDECAR   "sidecar.istio.io/status"
#define ANNOTATION_LOCAL     "ambit.io/local-workload"
#define ANNOTATION_PROGRAM   "ambit.io/program"
#define LABEL_GATEWAY        "gateway.networking.k8s.io/gateway-name"
#define ANNOTATED_AS_ENABLED "enabled"

static char *dup_or_null(const char *s)
{
    return s ? mem_strdup(s) : NULL;
}

static const char *text(const struct json *object, const char *key)
{
    return json_str(json_get(object, key), NULL);
}

static void read_annotations(const struct json *a, const struct pod_json_options *o, struct pod *p)
{
    const char *state = text(a, ANNOTATION_REDIRECT);

    p->virtual_interfaces = dup_or_null(text(a, ANNOTATION_VIRTUAL));
    p->has_sidecar = json_get(a, ANNOTATION_SIDECAR) != NULL;
    p->bypass_inbound = pod_bool(text(a, ANNOTATION_BYPASS), false);
    p->dns = pod_bool(text(a, ANNOTATION_DNS), o->dns);
    p->is_announced = state && strcmp(state, ANNOTATED_AS_ENABLED) == 0;
}

static void add_ip(struct pod *p, const char *s)
{
    if (s && p->ip_count < POD_IPS_MAX && ip_parse(&p->ips[p->ip_count], s, strlen(s)) == 0) {
        p->ip_count++;
    }
}

static void read_status(const struct json *object, struct pod *p)
{
    const struct json *ips = json_array_at(object, "status.podIPs");
    const char *phase = json_str_at(object, "status.phase", "");

    for (size_t i = 0; i < json_count(ips); i++) {
        add_ip(p, text(json_item(ips, i), "ip"));
    }
    if (p->ip_count == 0) {
        add_ip(p, json_str_at(object, "status.podIP", NULL));
    }
    p->is_terminal = strcmp(phase, "Succeeded") == 0 || strcmp(phase, "Failed") == 0;
}

static void read_labels(const struct json *labels, const struct pod_json_options *o, struct pod *p)
{
    const char *app = text(labels, "app");

    p->dataplane_mode = dup_or_null(text(labels, LABEL_MODE));
    p->is_node_proxy = app && strcmp(app, "ztunnel") == 0 && o->mesh_namespace &&
                       strcmp(p->namespace, o->mesh_namespace) == 0;
}

/* The control plane without a cluster writes such pods, and nobody but their node runs them. */
static void read_program(const struct json *object, struct pod *p)
{
    const char *program = text(json_object_at(object, "metadata.annotations"), ANNOTATION_PROGRAM);
    const char *gateway = text(json_object_at(object, "metadata.labels"), LABEL_GATEWAY);

    if (program && gateway && strcmp(program, "waypoint") == 0) {
        p->gateway = mem_strdup(gateway);
    }
}

int pod_from_json(const struct json *object, const struct pod_json_options *o, struct pod **out)
{
    const char *uid = json_str_at(object, "metadata.uid", NULL);
    const char *name = json_str_at(object, "metadata.name", NULL);
    const char *namespace = json_str_at(object, "metadata.namespace", NULL);

    if (!uid || !name || !namespace) {
        return -ERR_SYNTAX;
    }
    struct pod *p = mem_new(struct pod);
    p->uid = mem_strdup(uid);
    p->name = mem_strdup(name);
    p->namespace = mem_strdup(namespace);
    p->service_account = mem_strdup(json_str_at(object, "spec.serviceAccountName", "default"));
    p->host_network = json_bool_at(object, "spec.hostNetwork", false);
    read_labels(json_object_at(object, "metadata.labels"), o, p);
    read_annotations(json_object_at(object, "metadata.annotations"), o, p);
    read_program(object, p);
    read_status(object, p);
    p->is_ending = json_at(object, "metadata.deletionTimestamp") != NULL;
    *out = p;
    return 0;
}

int pod_namespace_from_json(const struct json *object, struct pod_event *out)
{
    const char *name = json_str_at(object, "metadata.name", "");
    const char *mode = text(json_object_at(object, "metadata.labels"), LABEL_MODE);
    int len = snprintf(out->namespace, sizeof(out->namespace), "%s", name);

    if (len <= 0 || (size_t)len >= sizeof(out->namespace)) {
        return -ERR_SYNTAX;
    }
    /* A longer value is none of those that mean something. */
    (void)snprintf(out->mode, sizeof(out->mode), "%s", mode ? mode : "");
    return 0;
}

static struct json *labels_of(const struct pod_spec *spec)
{
    struct json *labels = json_new_object();

    for (size_t i = 0; spec->labels && spec->labels[i]; i += 2) {
        json_set_str(labels, spec->labels[i], spec->labels[i + 1]);
    }
    return labels;
}

/* A container is needed by the API's rules; nobody looks for its image. */
static struct json *containers(void)
{
    struct json *list = json_new_array();
    struct json *one = json_new_object();

    json_set_str(one, "name", "command");
    json_set_str(one, "image", "local");
    json_append(list, one);
    return list;
}

struct json *pod_create_body(const struct pod_spec *spec)
{
    struct json *pod = json_new_object();
    struct json *metadata = json_make_object(pod, "metadata");
    struct json *body = json_make_object(pod, "spec");

    json_set_str(pod, "apiVersion", "v1");
    json_set_str(pod, "kind", "Pod");
    json_set_str(metadata, "namespace", spec->namespace);
    json_set_str(metadata, "name", spec->name);
    json_set(metadata, "labels", labels_of(spec));
    json_set_str(json_make_object(metadata, "annotations"), ANNOTATION_LOCAL, "true");
    json_set_str(body, "nodeName", spec->node);
    json_set_str(body, "serviceAccountName", spec->service_account);
    json_set_bool(body, "automountServiceAccountToken", false);
    json_set(body, "containers", containers());
    return pod;
}

static struct json *ready_condition(bool ready, const char *trouble)
{
    struct json *list = json_new_array();
    struct json *one = json_new_object();

    json_set_str(one, "type", "Ready");
    json_set_str(one, "status", ready ? "True" : "False");
    if (trouble) {
        json_set_str(one, "reason", "CannotStart");
        json_set_str(one, "message", trouble);
    }
    json_append(list, one);
    return list;
}

static struct json *pod_ips(const struct pod_spec *spec)
{
    struct json *list = json_new_array();
    char ip[IP_TEXT];

    for (unsigned i = 0; i < spec->ip_count; i++) {
        struct json *one = json_new_object();
        json_set_str(one, "ip", ip_format(&spec->ips[i], ip));
        json_append(list, one);
    }
    return list;
}

struct json *pod_status_patch(const struct pod_spec *spec, enum pod_phase phase, bool ready)
{
    static const char *const phases[] = {
        [POD_PENDING] = "Pending",
        [POD_RUNNING] = "Running",
        [POD_SUCCEEDED] = "Succeeded",
        [POD_FAILED] = "Failed",
    };
    struct json *patch = json_new_object();
    struct json *status = json_make_object(patch, "status");
    char ip[IP_TEXT];

    json_set_str(status, "phase", phases[phase]);
    if (spec->ip_count > 0) {
        json_set_str(status, "podIP", ip_format(&spec->ips[0], ip));
    }
    json_set(status, "podIPs", pod_ips(spec));
    json_set(status, "conditions", ready_condition(ready, spec->trouble));
    return patch;
}

struct json *pod_announce_patch(const char *uid, bool enabled)
{
    struct json *patch = json_new_object();
    struct json *annotations = json_make_object(patch, "metadata.annotations");

    json_set(annotations, ANNOTATION_REDIRECT,
             enabled ? json_new_str(ANNOTATED_AS_ENABLED) : json_new_null());
    json_set_str(json_object_at(patch, "metadata"), "uid", uid);
    return patch;
}

struct json *pod_token_body(const struct pod_spec *spec, const char *uid)
{
    struct json *body = json_new_object();
    struct json *ask = json_make_object(body, "spec");
    struct json *bound = json_make_object(ask, "boundObjectRef");

    json_set_str(body, "apiVersion", "authentication.k8s.io/v1");
    json_set_str(body, "kind", "TokenRequest");
    json_append_str(json_make_array(ask, "audiences"), "istio-ca");
    json_set_int(ask, "expirationSeconds", POD_TOKEN_LIFE_S);
    json_set_str(bound, "apiVersion", "v1");
    json_set_str(bound, "kind", "Pod");
    json_set_str(bound, "name", spec->name);
    json_set_str(bound, "uid", uid);
    return body;
}

struct json *pod_delete_body(void)
{
    struct json *body = json_new_object();

    json_set_str(body, "apiVersion", "v1");
    json_set_str(body, "kind", "DeleteOptions");
    json_set_int(body, "gracePeriodSeconds", 0);
    return body;
}
