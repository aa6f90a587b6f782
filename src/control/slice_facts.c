/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "base/mem.h"
#include "base/num.h"
#include "control/service_facts.h"

static void read_target(struct slice_endpoint *e, const struct json *endpoint, const char *ns,
                        struct intern *pool)
{
    if (strcmp(json_str_at(endpoint, "targetRef.kind", ""), "Pod") == 0) {
        e->pod_ns = intern_text(pool, json_str_at(endpoint, "targetRef.namespace", ns));
        e->pod_name = intern_text(pool, json_str_at(endpoint, "targetRef.name", ""));
        e->pod_uid = intern_text(pool, json_str_at(endpoint, "targetRef.uid", ""));
    }
}

static void read_endpoints(struct slice_facts *f, const struct json *slice, struct intern *pool)
{
    const struct json *all = json_array_at(slice, "endpoints");
    size_t count = MIN_OF(json_count(all), (size_t)SLICE_ENDPOINTS_MAX);

    f->endpoints = count > 0 ? mem_array(count, sizeof(*f->endpoints)) : NULL;
    for (size_t i = 0; i < count; i++) {
        const struct json *from = json_item(all, i);
        struct slice_endpoint *e = &f->endpoints[f->endpoint_count];
        const char *address = json_str(json_item(json_array_at(from, "addresses"), 0), "");
        if (ip_parse(&e->ip, address, strlen(address)) < 0) {
            continue;
        }
        e->address = intern_text(pool, address);
        e->is_ready = json_bool_at(from, "conditions.ready", true);
        read_target(e, from, f->ns, pool);
        f->endpoint_count++;
    }
}

static void read_ports(struct slice_facts *f, const struct json *slice, struct intern *pool)
{
    const struct json *all = json_array_at(slice, "ports");
    size_t count = MIN_OF(json_count(all), (size_t)SLICE_PORTS_MAX);

    f->ports = count > 0 ? mem_array(count, sizeof(*f->ports)) : NULL;
    for (size_t i = 0; i < count; i++) {
        const struct json *p = json_item(all, i);
        int64_t number = json_int_at(p, "port", 0);
        if (strcmp(json_str_at(p, "protocol", "TCP"), "TCP") == 0 && number > 0 &&
            number <= UINT16_MAX) {
            f->ports[f->port_count++] = (struct slice_port){
                intern_text(pool, json_str_at(p, "name", "")), (uint16_t)number};
        }
    }
}

void slice_facts_read(struct slice_facts *out, const struct json *slice, struct intern *pool)
{
    const struct json *labels = json_object_at(slice, "metadata.labels");
    struct slice_facts f = {
        .ns = intern_text(pool, json_str_at(slice, "metadata.namespace", "")),
        .name = intern_text(pool, json_str_at(slice, "metadata.name", "")),
        .service = intern_text(pool, json_str(json_get(labels, "kubernetes.io/service-name"), ""))};

    if (strcmp(json_str_at(slice, "addressType", ""), "FQDN") != 0) {
        read_endpoints(&f, slice, pool);
        read_ports(&f, slice, pool);
    }
    *out = f;
}

void slice_facts_fini(struct slice_facts *f)
{
    text_unref(f->ns);
    text_unref(f->name);
    text_unref(f->service);
    for (unsigned i = 0; i < f->endpoint_count; i++) {
        text_unref(f->endpoints[i].address);
        text_unref(f->endpoints[i].pod_ns);
        text_unref(f->endpoints[i].pod_name);
        text_unref(f->endpoints[i].pod_uid);
    }
    for (unsigned i = 0; i < f->port_count; i++) {
        text_unref(f->ports[i].name);
    }
    mem_free(f->endpoints);
    mem_free(f->ports);
    *f = (struct slice_facts){.ns = NULL};
}
