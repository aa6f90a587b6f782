/* SPDX-License-Identifier: Apache-2.0 */
/* The objects that a waypoint's Gateway becomes (contract 7.2). */
#include <string.h>

#include "base/ascii.h"
#include "base/num.h"
#include "control/reconcile.h"
#include "control/voice.h"

enum { REPLICAS_MAX = 64, STATUS_PORT = 15021, PORT_NAME_MAX = 63 };

static const char *text_of(const struct json *object, const char *what, const char *key)
{
    return json_str(json_get(json_object_at(object, what), key), "");
}

static const char *annotation(const struct json *gateway, const char *key)
{
    return text_of(gateway, "metadata.annotations", key);
}

const char *gateway_account_name(const struct json *gateway)
{
    const char *name = annotation(gateway, "gateway.istio.io/service-account");

    return *name ? name : json_str_at(gateway, "metadata.name", "");
}

/* What says how the Gateway is to be treated is not for its children. */
static bool is_passed_on(const char *key)
{
    static const char *const own[] = {"kubectl.kubernetes.io/last-applied-configuration",
                                      "gateway.istio.io/name-override",
                                      "gateway.istio.io/service-account",
                                      VERSION_ANNOTATION,
                                      "ambit.io/replicas",
                                      "ambit.io/waypoint-bypass"};

    for (size_t i = 0; i < ARRAY_LEN(own); i++) {
        if (strcmp(own[i], key) == 0) {
            return false;
        }
    }
    return strncmp(key, "gateway.networking.k8s.io/", 26) != 0;
}

void gateway_pass_on(const struct json *gateway, const char *which, struct json *into)
{
    const struct json *said = json_get(json_at(gateway, "spec.infrastructure"), which);
    const struct json *from = said ? said : json_get(json_get(gateway, "metadata"), which);

    for (struct json_iter it = {0}; json_each(from, &it);) {
        if (is_passed_on(it.key)) {
            json_set_str(into, it.key, json_str(it.value, ""));
        }
    }
}

void gateway_mark(const struct json *gateway, struct json *labels)
{
    gateway_pass_on(gateway, "labels", labels);
    json_set_str(labels, MANAGED_LABEL, WAYPOINT_MANAGED);
    json_set_str(labels, GATEWAY_LABEL, json_str_at(gateway, "metadata.name", ""));
    json_set_str(labels, "gateway.networking.k8s.io/gateway-class-name",
                 json_str_at(gateway, "spec.gatewayClassName", ""));
}

/* The user brings what spec.addresses names. A version that is higher than ours, or none, is of a
 * controller that knows better. */
bool gateway_is_managed(const struct json *gateway)
{
    const struct json *at = json_array_at(gateway, "spec.addresses");
    const char *version = annotation(gateway, VERSION_ANNOTATION);
    uint32_t n = 0;

    if (*version && num_parse_u32(version, strlen(version), OUR_VERSION, &n) < 0) {
        return false;
    }
    return json_count(at) == 0 ||
           (json_count(at) == 1 &&
            strcmp(json_str_at(json_item(at, 0), "type", "IPAddress"), "IPAddress") == 0);
}

struct json *gateway_owner_reference(const struct json *gateway)
{
    struct json *owner = json_new_object();

    json_set_str(owner, "apiVersion", "gateway.networking.k8s.io/v1");
    json_set_str(owner, "kind", "Gateway");
    json_set_str(owner, "name", json_str_at(gateway, "metadata.name", ""));
    json_set_str(owner, "uid", json_str_at(gateway, "metadata.uid", ""));
    return owner;
}

static struct json *child(const struct json *gateway, const char *version, const char *kind,
                          const char *name)
{
    struct json *o =
        written_object(version, kind, json_str_at(gateway, "metadata.namespace", ""), name);
    struct json *meta = json_get(o, "metadata");

    gateway_mark(gateway, json_make_object(meta, "labels"));
    gateway_pass_on(gateway, "annotations", json_make_object(meta, "annotations"));
    json_append(json_make_array(meta, "ownerReferences"), gateway_owner_reference(gateway));
    return o;
}

/* ---- ServiceAccount and Service */

struct json *gateway_account(const struct json *gateway)
{
    return child(gateway, "v1", "ServiceAccount", gateway_account_name(gateway));
}

static void add_port(struct json *list, const char *name, int64_t number, const char *protocol)
{
    struct json *p = json_new_object();

    json_set_str(p, "name", name);
    json_set_int(p, "port", number);
    json_set_int(p, "targetPort", number);
    json_set_str(p, "protocol", "TCP");
    json_set_str(p, "appProtocol", protocol);
    json_append(list, p);
}

static bool has_port(const struct json *list, int64_t number)
{
    for (size_t i = 0; i < json_count(list); i++) {
        if (json_int_at(json_item(list, i), "port", 0) == number) {
            return true;
        }
    }
    return false;
}

static bool has_name(const struct json *list, const char *name)
{
    for (size_t i = 0; i < json_count(list); i++) {
        if (strcmp(json_str_at(json_item(list, i), "name", ""), name) == 0) {
            return true;
        }
    }
    return false;
}

/* Dots are no part of port names; a name that is taken gets the port's number. */
static void name_port(const struct json *ports, const struct json *listener, struct strbuf *out)
{
    for (const char *c = json_str_at(listener, "name", ""); *c; c++) {
        strbuf_putc(out, *c == '.' ? '-' : *c);
    }
    if (has_name(ports, strbuf_text(out))) {
        strbuf_printf(out, "-%lld", (long long)json_int_at(listener, "port", 0));
    }
}

static void add_listener(struct json *ports, const struct json *listener)
{
    int64_t number = json_int_at(listener, "port", 0);
    AUTO(strbuf) struct strbuf name = {.limit = PORT_NAME_MAX};
    AUTO(strbuf) struct strbuf protocol = {0};

    if (has_port(ports, number)) {
        return;
    }
    name_port(ports, listener, &name);
    for (const char *c = json_str_at(listener, "protocol", ""); *c; c++) {
        strbuf_putc(&protocol, ascii_lower(*c));
    }
    add_port(ports, strbuf_text(&name), number, strbuf_text(&protocol));
}

struct json *gateway_service(const struct json *gateway)
{
    const char *name = json_str_at(gateway, "metadata.name", "");
    const char *type = annotation(gateway, "networking.istio.io/service-type");
    const struct json *listeners = json_array_at(gateway, "spec.listeners");
    struct json *o = child(gateway, "v1", "Service", name);
    struct json *ports = json_make_array(o, "spec.ports");

    json_set_str(json_at(o, "metadata.annotations"), "networking.istio.io/traffic-distribution",
                 "PreferClose");
    json_set_str(json_get(o, "spec"), "type", *type ? type : "ClusterIP");
    json_set_str(json_get(o, "spec"), "ipFamilyPolicy", "PreferDualStack");
    json_set_str(json_make_object(o, "spec.selector"), GATEWAY_LABEL, name);
    add_port(ports, "status-port", STATUS_PORT, "tcp");
    for (size_t i = 0; i < json_count(listeners); i++) {
        add_listener(ports, json_item(listeners, i));
    }
    return o;
}

/* ---- Deployment */

static void add_env(struct json *list, const char *name, const char *value)
{
    struct json *e = json_new_object();

    json_set_str(e, "name", name);
    json_set_str(e, "value", value);
    json_append(list, e);
}

static void add_env_field(struct json *list, const char *name, const char *path)
{
    struct json *e = json_new_object();

    json_set_str(e, "name", name);
    json_set_str(json_make_object(e, "valueFrom.fieldRef"), "fieldPath", path);
    json_append(list, e);
}

static void fill_env(struct json *list, const struct json *gateway, const struct waypoint_image *i)
{
    add_env(list, "XDS_ADDRESS", i->discovery);
    add_env(list, "CA_ADDRESS", i->discovery);
    add_env(list, "XDS_ROOT_CA", "/var/run/secrets/istio/root-cert.pem");
    add_env(list, "CA_ROOT_CA", "/var/run/secrets/istio/root-cert.pem");
    add_env(list, "AUTH_TOKEN", "/var/run/secrets/tokens/istio-token");
    add_env(list, "GATEWAY", json_str_at(gateway, "metadata.name", ""));
    add_env(list, "TRUST_DOMAIN", i->trust_domain);
    add_env(list, "CLUSTER_ID", i->cluster_id);
    add_env(list, "NETWORK", i->network);
    add_env_field(list, "NAMESPACE", "metadata.namespace");
    add_env_field(list, "POD_NAME", "metadata.name");
    add_env_field(list, "SERVICE_ACCOUNT", "spec.serviceAccountName");
    add_env_field(list, "INSTANCE_IP", "status.podIP");
    add_env_field(list, "NODE_NAME", "spec.nodeName");
}

static void add_container_port(struct json *list, const char *name, int64_t number)
{
    struct json *p = json_new_object();

    json_set_str(p, "name", name);
    json_set_int(p, "containerPort", number);
    json_set_str(p, "protocol", "TCP");
    json_append(list, p);
}

static void set_probe(struct json *container, const char *which, int64_t failures, int64_t period)
{
    struct json *p = json_make_object(container, which);
    struct json *get = json_make_object(p, "httpGet");

    json_set_str(get, "path", "/healthz/ready");
    json_set_int(get, "port", STATUS_PORT);
    json_set_int(p, "failureThreshold", failures);
    json_set_int(p, "periodSeconds", period);
}

static void secure(struct json *container)
{
    struct json *s = json_make_object(container, "securityContext");

    json_set_bool(s, "allowPrivilegeEscalation", false);
    json_set_bool(s, "privileged", false);
    json_set_bool(s, "readOnlyRootFilesystem", true);
    json_set_bool(s, "runAsNonRoot", true);
    json_set_int(s, "runAsUser", 1337);
    json_set_int(s, "runAsGroup", 1337);
    json_append_str(json_make_array(s, "capabilities.drop"), "ALL");
}

static void add_mount(struct json *container, const char *name, const char *path)
{
    struct json *m = json_new_object();

    json_set_str(m, "name", name);
    json_set_str(m, "mountPath", path);
    json_append(json_make_array(container, "volumeMounts"), m);
}

static struct json *container_of_waypoint(const struct json *gateway,
                                          const struct waypoint_image *i)
{
    struct json *c = json_new_object();
    struct json *resources = json_make_object(c, "resources");

    json_set_str(c, "name", "istio-proxy");
    json_set_str(c, "image", i->image);
    fill_env(json_make_array(c, "env"), gateway, i);
    add_container_port(json_make_array(c, "ports"), "mesh", 15008);
    add_container_port(json_get(c, "ports"), "metrics", 15020);
    add_container_port(json_get(c, "ports"), "status-port", STATUS_PORT);
    set_probe(c, "startupProbe", 30, 1);
    set_probe(c, "readinessProbe", 4, 15);
    secure(c);
    json_set_str(json_make_object(resources, "requests"), "cpu", "100m");
    json_set_str(json_get(resources, "requests"), "memory", "128Mi");
    json_set_str(json_make_object(resources, "limits"), "cpu", "2");
    json_set_str(json_get(resources, "limits"), "memory", "1Gi");
    add_mount(c, "istio-token", "/var/run/secrets/tokens");
    add_mount(c, "istiod-ca-cert", "/var/run/secrets/istio");
    return c;
}

static void add_volumes(struct json *spec)
{
    struct json *token = json_new_object();
    struct json *source = json_new_object();
    struct json *root = json_new_object();
    struct json *claim = json_make_object(source, "serviceAccountToken");

    json_set_str(claim, "audience", "istio-ca");
    json_set_int(claim, "expirationSeconds", 43200);
    json_set_str(claim, "path", "istio-token");
    json_set_str(token, "name", "istio-token");
    json_append(json_make_array(token, "projected.sources"), source);
    json_set_str(root, "name", "istiod-ca-cert");
    json_set_str(json_make_object(root, "configMap"), "name", "istio-ca-root-cert");
    json_append(json_make_array(spec, "volumes"), token);
    json_append(json_get(spec, "volumes"), root);
}

static void fill_template(struct json *template, const struct json *gateway,
                          const struct waypoint_image *i)
{
    struct json *labels = json_make_object(template, "metadata.labels");
    struct json *notes = json_make_object(template, "metadata.annotations");
    struct json *spec = json_make_object(template, "spec");

    gateway_mark(gateway, labels);
    json_set_str(labels, "sidecar.istio.io/inject", "false");
    json_set_str(labels, "istio.io/dataplane-mode", "none");
    json_set_str(labels, "service.istio.io/canonical-name",
                 json_str_at(gateway, "metadata.name", ""));
    json_set_str(labels, "service.istio.io/canonical-revision", "latest");
    gateway_pass_on(gateway, "annotations", notes);
    json_set_str(notes, "prometheus.io/scrape", "true");
    json_set_str(notes, "prometheus.io/port", "15020");
    json_set_str(notes, "prometheus.io/path", "/stats/prometheus");
    json_set_str(spec, "serviceAccountName", gateway_account_name(gateway));
    json_set_int(spec, "terminationGracePeriodSeconds", 40);
    json_append(json_make_array(spec, "containers"), container_of_waypoint(gateway, i));
    add_volumes(spec);
}

/* False: whoever scales the Deployment decides. */
static bool read_replicas(const struct json *gateway, uint32_t *out)
{
    const char *text = annotation(gateway, "ambit.io/replicas");

    return *text && num_parse_u32(text, strlen(text), REPLICAS_MAX, out) == 0;
}

struct json *gateway_deployment(const struct json *gateway, const struct waypoint_image *image)
{
    const char *name = json_str_at(gateway, "metadata.name", "");
    struct json *o = child(gateway, "apps/v1", "Deployment", name);
    uint32_t replicas = 1;

    json_set_str(json_make_object(o, "spec.selector.matchLabels"), GATEWAY_LABEL, name);
    fill_template(json_make_object(o, "spec.template"), gateway, image);
    if (read_replicas(gateway, &replicas)) {
        json_set_int(json_get(o, "spec"), "replicas", replicas);
    }
    return o;
}
