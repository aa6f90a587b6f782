/* SPDX-License-Identifier: Apache-2.0 */
#include "control/pod_facts.h"

#include <string.h>

#include "base/mem.h"
#include "base/num.h"

static bool add_ip(struct pod_facts *f, const char *text)
{
    return f->ip_count < POD_IPS_MAX && ip_parse(&f->ips[f->ip_count++], text, strlen(text)) == 0;
}

/* False: an address that does not parse, and then there is no workload. */
static bool read_ips(struct pod_facts *f, const struct json *pod)
{
    const struct json *all = json_array_at(pod, "status.podIPs");
    const char *single = json_str_at(pod, "status.podIP", "");
    bool good = true;

    f->ips = mem_array(MAX_OF(json_count(all), (size_t)1), sizeof(*f->ips));
    for (size_t i = 0; good && i < json_count(all); i++) {
        good = add_ip(f, json_str_at(json_item(all, i), "ip", ""));
    }
    if (json_count(all) == 0 && *single) {
        good = add_ip(f, single);
    }
    return good && f->ip_count > 0;
}

static void read_ports(struct pod_facts *f, const struct json *container, struct intern *pool)
{
    const struct json *ports = json_array_at(container, "ports");

    for (size_t i = 0; i < json_count(ports); i++) {
        const struct json *p = json_item(ports, i);
        const char *name = json_str_at(p, "name", "");
        int64_t number = json_int_at(p, "containerPort", 0);
        if (*name && number > 0 && number <= UINT16_MAX && f->port_count < POD_PORTS_MAX &&
            strcmp(json_str_at(p, "protocol", "TCP"), "TCP") == 0) {
            f->ports = mem_resize(f->ports, (f->port_count + 1) * sizeof(*f->ports));
            f->ports[f->port_count++] =
                (struct container_port){intern_text(pool, name), (uint16_t)number};
        }
    }
}

static void read_containers(struct pod_facts *f, const struct json *pod, struct intern *pool)
{
    const struct json *all = json_array_at(pod, "spec.containers");
    const struct json *init = json_array_at(pod, "spec.initContainers");

    for (size_t i = 0; i < json_count(all); i++) {
        read_ports(f, json_item(all, i), pool);
    }
    for (size_t i = 0; i < json_count(init); i++) {
        const struct json *c = json_item(init, i);
        if (strcmp(json_str_at(c, "restartPolicy", ""), "Always") == 0) {
            read_ports(f, c, pool);
        }
    }
}

static bool is_ready(const struct json *pod)
{
    const struct json *conditions = json_array_at(pod, "status.conditions");

    if (*json_str_at(pod, "metadata.deletionTimestamp", "")) {
        return false;
    }
    for (size_t i = 0; i < json_count(conditions); i++) {
        const struct json *c = json_item(conditions, i);
        if (strcmp(json_str_at(c, "type", ""), "Ready") == 0) {
            return strcmp(json_str_at(c, "status", ""), "True") == 0;
        }
    }
    return false;
}

/* A comma list with the element "http". */
static bool is_native(const struct labels *labels)
{
    struct slice rest = slice_of(labels_get(labels, "networking.istio.io/tunnel"));
    struct slice head;

    while (rest.len > 0) {
        (void)slice_cut(rest, ',', &head, &rest); /* without a comma, rest is empty */
        if (slice_is(head, "http")) {
            return true;
        }
    }
    return false;
}

/* The first of the labels that is there, even if it is empty (contract 2.1). */
static const char *first_label(const struct labels *l, const char *const keys[3],
                               const char *otherwise)
{
    for (unsigned i = 0; i < 3; i++) {
        const char *value = labels_get(l, keys[i]);
        if (value) {
            return value;
        }
    }
    return otherwise;
}

static void read_names(struct pod_facts *f, const struct json *pod, struct intern *pool)
{
    static const char *const names[3] = {"service.istio.io/canonical-name",
                                         "app.kubernetes.io/name", "app"};
    static const char *const revisions[3] = {"service.istio.io/canonical-revision",
                                             "app.kubernetes.io/version", "version"};
    AUTO(text) char *workload = workload_name_of(pod, &f->labels);

    f->ns = intern_text(pool, json_str_at(pod, "metadata.namespace", ""));
    f->name = intern_text(pool, json_str_at(pod, "metadata.name", ""));
    f->uid = intern_text(pool, json_str_at(pod, "metadata.uid", ""));
    f->account = intern_text(pool, json_str_at(pod, "spec.serviceAccountName", ""));
    f->node = intern_text(pool, json_str_at(pod, "spec.nodeName", ""));
    f->workload_name = intern_text(pool, workload);
    f->canonical_name = intern_text(pool, first_label(&f->labels, names, workload));
    f->canonical_revision = intern_text(pool, first_label(&f->labels, revisions, "latest"));
}

void pod_facts_read(struct pod_facts *out, const struct json *pod, struct intern *pool)
{
    struct pod_facts f = {.ips = NULL};
    const char *phase = json_str_at(pod, "status.phase", "");
    const struct json *annotations = json_object_at(pod, "metadata.annotations");

    labels_read(&f.labels, json_object_at(pod, "metadata.labels"), pool);
    read_names(&f, pod, pool);
    read_containers(&f, pod, pool);
    f.is_failed = strcmp(phase, "Failed") == 0;
    f.is_published = read_ips(&f, pod) && !f.is_failed && strcmp(phase, "Succeeded") != 0;
    f.is_ready = is_ready(pod);
    f.is_captured =
        strcmp(json_str(json_get(annotations, "ambient.istio.io/redirection"), ""), "enabled") == 0;
    f.is_native = is_native(&f.labels);
    f.is_host_network = json_bool_at(pod, "spec.hostNetwork", false);
    *out = f;
}

void pod_facts_fini(struct pod_facts *f)
{
    const char *texts[] = {f->ns,
                           f->name,
                           f->uid,
                           f->account,
                           f->node,
                           f->workload_name,
                           f->canonical_name,
                           f->canonical_revision};

    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        text_unref(texts[i]);
    }
    for (unsigned i = 0; i < f->port_count; i++) {
        text_unref(f->ports[i].name);
    }
    labels_fini(&f->labels);
    mem_free(f->ips);
    mem_free(f->ports);
    *f = (struct pod_facts){.ips = NULL};
}

uint16_t pod_facts_port(const struct pod_facts *f, const char *name)
{
    for (unsigned i = 0; i < f->port_count; i++) {
        if (strcmp(f->ports[i].name, name) == 0) {
            return f->ports[i].port;
        }
    }
    return 0;
}
