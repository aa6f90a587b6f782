/* SPDX-License-Identifier: Apache-2.0 */
#include "control/service_facts.h"

#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "base/num.h"
#include "control/reconcile.h"
#include "model/service.h"

enum distribution distribution_read(const char *text)
{
    static const struct {
        const char *name;
        enum distribution means;
    } known[] = {{"PreferClose", DISTRIBUTION_SAME_ZONE},
                 {"PreferSameZone", DISTRIBUTION_SAME_ZONE},
                 {"PreferSameNode", DISTRIBUTION_SAME_NODE}};

    if (!text || !*text) {
        return DISTRIBUTION_UNSET;
    }
    for (size_t i = 0; i < ARRAY_LEN(known); i++) {
        if (strcasecmp(text, known[i].name) == 0) {
            return known[i].means;
        }
    }
    return DISTRIBUTION_ANY;
}

static enum distribution own_distribution(const struct json *service)
{
    const struct json *annotations = json_object_at(service, "metadata.annotations");
    enum distribution d = distribution_read(json_str_at(service, "spec.trafficDistribution", NULL));

    if (d == DISTRIBUTION_UNSET) {
        d = distribution_read(
            json_str(json_get(annotations, "networking.istio.io/traffic-distribution"), NULL));
    }
    return d;
}

/* "" and "None" are no addresses. False: one does not parse. */
static bool add_vip(struct service_facts *f, const char *text)
{
    if (!*text || strcmp(text, "None") == 0) {
        return true;
    }
    return f->vip_count < SERVICE_FACT_VIPS_MAX &&
           ip_parse(&f->vips[f->vip_count++], text, strlen(text)) == 0;
}

static bool read_vips(struct service_facts *f, const struct json *service)
{
    const struct json *all = json_array_at(service, "spec.clusterIPs");
    bool good = true;

    f->vips = mem_array(SERVICE_FACT_VIPS_MAX, sizeof(*f->vips));
    for (size_t i = 0; good && i < json_count(all); i++) {
        good = add_vip(f, json_str(json_item(all, i), ""));
    }
    if (json_count(all) == 0) {
        good = add_vip(f, json_str_at(service, "spec.clusterIP", ""));
    }
    f->vips = mem_resize(f->vips, MAX_OF(f->vip_count, 1u) * sizeof(*f->vips));
    return good;
}

static uint8_t read_families(const struct json *service)
{
    const struct json *all = json_array_at(service, "spec.ipFamilies");

    if (json_count(all) == 2) {
        return FAMILIES_DUAL;
    }
    if (json_count(all) != 1) {
        return FAMILIES_AUTOMATIC;
    }
    return strcmp(json_str(json_item(all, 0), ""), "IPv6") == 0 ? FAMILIES_IPV6 : FAMILIES_IPV4;
}

static struct service_port_facts read_port(const struct json *p, struct intern *pool)
{
    struct service_port_facts f = {.port = (uint16_t)json_int_at(p, "port", 0)};
    const struct json *target = json_get(p, "targetPort");
    int64_t number = json_int(target, 0);
    const char *name = json_str_at(p, "name", "");

    f.name = intern_text(pool, name);
    f.target_name = intern_text(pool, json_str(target, ""));
    if (number > 0 && number <= UINT16_MAX) {
        f.target = (uint16_t)number;
    } else if (!*f.target_name) {
        f.target = f.port; /* what the API server fills in */
    }
    f.app = app_protocol_of(json_str_at(p, "protocol", "TCP"), json_str_at(p, "appProtocol", NULL),
                            name, f.port);
    f.is_tcp = strcmp(json_str_at(p, "protocol", "TCP"), "TCP") == 0;
    f.l7 = l7_protocol_of(json_str_at(p, "appProtocol", NULL), name, f.app);
    return f;
}

static void read_ports(struct service_facts *f, const struct json *service, struct intern *pool)
{
    const struct json *all = json_array_at(service, "spec.ports");
    size_t count = MIN_OF(json_count(all), (size_t)SERVICE_FACT_PORTS_MAX);

    f->ports = count > 0 ? mem_array(count, sizeof(*f->ports)) : NULL;
    for (size_t i = 0; i < count; i++) {
        int64_t port = json_int_at(json_item(all, i), "port", 0);
        if (port > 0 && port <= UINT16_MAX) {
            f->ports[f->port_count++] = read_port(json_item(all, i), pool);
        }
    }
}

int8_t ingress_read(const struct json *object)
{
    static const char *const yes[] = {"1", "t", "T", "TRUE", "true", "True"};
    const struct json *labels = json_object_at(object, "metadata.labels");
    const char *text = json_str(json_get(labels, "istio.io/ingress-use-waypoint"), NULL);

    for (size_t i = 0; text && i < ARRAY_LEN(yes); i++) {
        if (strcmp(text, yes[i]) == 0) {
            return 1;
        }
    }
    return text ? 0 : -1;
}

/* Contract 3.4.3. */
static bool is_managed(const struct json *service)
{
    const struct json *labels = json_object_at(service, "metadata.labels");
    const char *by = json_str(json_get(labels, MANAGED_LABEL), "");

    return strcmp(by, WAYPOINT_MANAGED) == 0 || strcmp(by, "istio.io-eastwest-controller") == 0;
}

static bool is_bypass_allowed(const struct json *service)
{
    const struct json *annotations = json_object_at(service, "metadata.annotations");

    return strcmp(json_str(json_get(annotations, "ambit.io/waypoint-bypass"), ""), "allow") == 0;
}

static void read_names(struct service_facts *f, const struct json *service, const struct mesh *mesh,
                       struct intern *pool)
{
    AUTO(strbuf) struct strbuf text = {0};
    const char *ns = json_str_at(service, "metadata.namespace", "");
    const char *name = json_str_at(service, "metadata.name", "");

    f->ns = intern_text(pool, ns);
    f->name = intern_text(pool, name);
    strbuf_printf(&text, "%s/%s.%s.svc.%s", ns, name, ns, mesh->domain);
    f->key = intern_text(pool, strbuf_text(&text));
    f->hostname = intern_text(pool, strbuf_text(&text) + strlen(ns) + 1);
}

void service_facts_read(struct service_facts *out, const struct json *service,
                        const struct mesh *mesh, struct intern *pool)
{
    struct service_facts f = {.vips = NULL};

    read_names(&f, service, mesh, pool);
    labels_read(&f.selector, json_object_at(service, "spec.selector"), pool);
    read_ports(&f, service, pool);
    f.is_published = read_vips(&f, service) &&
                     strcmp(json_str_at(service, "spec.type", ""), "ExternalName") != 0;
    f.families = read_families(service);
    f.distribution = (uint8_t)own_distribution(service);
    f.is_local = strcmp(json_str_at(service, "spec.internalTrafficPolicy", ""), "Local") == 0;
    f.wants_not_ready = json_bool_at(service, "spec.publishNotReadyAddresses", false);
    f.is_waypoint = is_managed(service);
    f.allows_bypass = is_bypass_allowed(service);
    f.ingress = ingress_read(service);
    *out = f;
}

void service_facts_fini(struct service_facts *f)
{
    text_unref(f->ns);
    text_unref(f->name);
    text_unref(f->hostname);
    text_unref(f->key);
    for (unsigned i = 0; i < f->port_count; i++) {
        text_unref(f->ports[i].name);
        text_unref(f->ports[i].target_name);
    }
    labels_fini(&f->selector);
    mem_free(f->vips);
    mem_free(f->ports);
    *f = (struct service_facts){.vips = NULL};
}
