/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/endpoints.h"

#include <string.h>

#include "base/ip.h"
#include "base/str.h"
#include "codec/json.h"

static const char managed_by[] = "ambit.io/endpoints";

/* ---- one pod */

static const struct json *find_condition(const struct json *pod, const char *type)
{
    const struct json *all = json_at(pod, "status.conditions");

    for (size_t i = 0; i < json_count(all); i++) {
        if (strcmp(json_str_at(json_item(all, i), "type", ""), type) == 0) {
            return json_item(all, i);
        }
    }
    return NULL;
}

static bool is_condition_true(const struct json *pod, const char *type)
{
    return strcmp(json_str_at(find_condition(pod, type), "status", ""), "True") == 0;
}

static bool is_over(const struct json *pod)
{
    const char *phase = json_str_at(pod, "status.phase", "");

    return strcmp(phase, "Succeeded") == 0 || strcmp(phase, "Failed") == 0;
}

/* Its address of that family, or NULL. */
static const char *address_of(const struct json *pod, enum ip_family family)
{
    const struct json *all = json_at(pod, "status.podIPs");
    struct ip ip;

    for (size_t i = 0; i < json_count(all); i++) {
        const char *text = json_str_at(json_item(all, i), "ip", "");
        if (ip_parse(&ip, text, strlen(text)) == 0 && ip.family == family) {
            return text;
        }
    }
    return NULL;
}

static struct json *target_of(const struct json *pod)
{
    struct json *ref = json_new_object();

    json_set_str(ref, "kind", "Pod");
    json_set_str(ref, "namespace", json_str_at(pod, "metadata.namespace", ""));
    json_set_str(ref, "name", json_str_at(pod, "metadata.name", ""));
    json_set_str(ref, "uid", json_str_at(pod, "metadata.uid", ""));
    return ref;
}

static struct json *endpoint_of(const struct json *pod, const char *address, bool publish_unready)
{
    struct json *e = json_new_object();
    bool serving = is_condition_true(pod, "Ready");
    bool terminating = json_at(pod, "metadata.deletionTimestamp") != NULL;
    struct json *conditions = json_make_object(e, "conditions");

    json_append_str(json_make_array(e, "addresses"), address);
    json_set_bool(conditions, "ready", publish_unready || (serving && !terminating));
    json_set_bool(conditions, "serving", serving);
    json_set_bool(conditions, "terminating", terminating);
    json_set(e, "targetRef", target_of(pod));
    json_set_str(e, "nodeName", json_str_at(pod, "spec.nodeName", ""));
    const char *hostname = json_str_at(pod, "spec.hostname", "");
    if (hostname[0] != '\0') {
        json_set_str(e, "hostname", hostname);
    }
    return e;
}

/* ---- ports: a named target port is whatever the pod says it is, so pods may differ */

static int64_t named_port(const struct json *pod, const char *name, const char *protocol)
{
    static const char *const lists[] = {"containers", "initContainers"};

    for (size_t k = 0; k < ARRAY_LEN(lists); k++) {
        const struct json *all = json_get(json_get(pod, "spec"), lists[k]);
        for (size_t i = 0; i < json_count(all); i++) {
            const struct json *ports = json_get(json_item(all, i), "ports");
            for (size_t j = 0; j < json_count(ports); j++) {
                const struct json *p = json_item(ports, j);
                if (strcmp(json_str_at(p, "name", ""), name) == 0 &&
                    strcmp(json_str_at(p, "protocol", "TCP"), protocol) == 0) {
                    return json_int_at(p, "containerPort", 0);
                }
            }
        }
    }
    return 0;
}

/* The ports of the service as this pod has them; those whose name it does not know are left out. */
static struct json *ports_for(const struct json *service, const struct json *pod)
{
    const struct json *all = json_at(service, "spec.ports");
    struct json *ports = json_new_array();

    for (size_t i = 0; i < json_count(all); i++) {
        const struct json *p = json_item(all, i);
        const char *protocol = json_str_at(p, "protocol", "TCP");
        const char *name = json_str_at(p, "targetPort", NULL);
        int64_t number = name ? named_port(pod, name, protocol)
                              : json_int_at(p, "targetPort", json_int_at(p, "port", 0));
        if (number == 0) {
            continue;
        }
        struct json *out = json_new_object();
        json_set_str(out, "name", json_str_at(p, "name", ""));
        json_set_str(out, "protocol", protocol);
        json_set_int(out, "port", number);
        const char *app = json_str_at(p, "appProtocol", NULL);
        if (app) {
            json_set_str(out, "appProtocol", app);
        }
        json_append(ports, out);
    }
    return ports;
}

/* ---- slices */

static struct json *owner_of(const struct json *service)
{
    struct json *o = json_new_object();

    json_set_str(o, "apiVersion", "v1");
    json_set_str(o, "kind", "Service");
    json_set_str(o, "name", json_str_at(service, "metadata.name", ""));
    json_set_str(o, "uid", json_str_at(service, "metadata.uid", ""));
    json_set_bool(o, "controller", true);
    json_set_bool(o, "blockOwnerDeletion", true);
    return o;
}

static struct json *new_slice(const struct json *service, const char *type, struct json *take_ports)
{
    struct json *s = json_new_object();
    struct json *meta = json_make_object(s, "metadata");
    struct json *labels = json_new_object();
    const struct json *old = json_at(service, "metadata.labels");

    for (struct json_iter it = {0}; json_each(old, &it);) {
        json_set(labels, it.key, json_ref(it.value));
    }
    json_set_str(labels, "kubernetes.io/service-name", json_str_at(service, "metadata.name", ""));
    json_set_str(labels, "endpointslice.kubernetes.io/managed-by", managed_by);
    if (strcmp(json_str_at(service, "spec.clusterIP", ""), "None") == 0) {
        json_set_str(labels, "service.kubernetes.io/headless", "");
    }
    json_set_str(s, "kind", "EndpointSlice");
    json_set_str(s, "apiVersion", "discovery.k8s.io/v1");
    json_set_str(meta, "namespace", json_str_at(service, "metadata.namespace", ""));
    json_set(meta, "labels", labels);
    json_append(json_make_array(meta, "ownerReferences"), owner_of(service));
    json_set_str(s, "addressType", type);
    json_set(s, "endpoints", json_new_array());
    json_set(s, "ports", take_ports);
    return s;
}

/* The slice of this family with these ports that has room; made when there is none. */
static struct json *slice_for(struct json *slices, const struct json *service, const char *type,
                              struct json *take_ports)
{
    AUTO(json) struct json *ports = take_ports;

    for (size_t i = 0; i < json_count(slices); i++) {
        struct json *s = json_item(slices, i);
        if (strcmp(json_str_at(s, "addressType", ""), type) == 0 &&
            json_same(json_get(s, "ports"), ports) &&
            json_count(json_get(s, "endpoints")) < ENDPOINTS_A_SLICE) {
            return s;
        }
    }
    struct json *made = new_slice(service, type, MOVE(ports));
    json_append(slices, made);
    return made;
}

static void name_slices(struct json *slices, const struct json *service)
{
    for (size_t i = 0; i < json_count(slices); i++) {
        struct json *s = json_item(slices, i);
        AUTO(strbuf) struct strbuf name = {0};
        bool v6 = strcmp(json_str_at(s, "addressType", ""), "IPv6") == 0;
        strbuf_printf(&name, "%.230s-%s-%zu", json_str_at(service, "metadata.name", ""),
                      v6 ? "ipv6" : "ipv4", i);
        json_set_str(json_get(s, "metadata"), "name", strbuf_text(&name));
    }
}

struct json *endpoints_of(const struct json *service, const struct json *pods)
{
    const struct json *families = json_at(service, "spec.ipFamilies");
    bool unready = json_bool_at(service, "spec.publishNotReadyAddresses", false);
    struct json *slices = json_new_array();

    for (size_t f = 0; f < json_count(families); f++) {
        const char *type = json_str(json_item(families, f), "");
        enum ip_family family = strcmp(type, "IPv6") == 0 ? IP_V6 : IP_V4;
        for (size_t i = 0; i < json_count(pods); i++) {
            const struct json *pod = json_item(pods, i);
            const char *address = address_of(pod, family);
            if (address && !is_over(pod)) {
                struct json *s = slice_for(slices, service, type, ports_for(service, pod));
                json_append(json_get(s, "endpoints"), endpoint_of(pod, address, unready));
            }
        }
    }
    name_slices(slices, service);
    return slices;
}
