/* SPDX-License-Identifier: Apache-2.0 */
/* The status of a waypoint's Gateway and of its class, in Istio's words (contract 7.3). */
#include <string.h>

#include "base/ip.h"
#include "control/reconcile.h"
#include "control/service_facts.h"
#include "control/voice.h"

enum { HBONE_PORT = 15008 };

static void add(struct json *list, const struct json *had, struct condition c)
{
    json_append(list, condition_new(&c, had));
}

/* ---- listeners */

static const struct json *former_listener(const struct json *gateway, const char *name)
{
    const struct json *all = json_array_at(gateway, "status.listeners");

    for (size_t i = 0; i < json_count(all); i++) {
        if (strcmp(json_str_at(json_item(all, i), "name", ""), name) == 0) {
            return json_item(all, i);
        }
    }
    return NULL;
}

static bool is_mesh_protocol(const struct json *listener)
{
    return strcmp(json_str_at(listener, "protocol", ""), "HBONE") == 0;
}

static bool is_mesh(const struct json *listener)
{
    return is_mesh_protocol(listener) && json_int_at(listener, "port", 0) == HBONE_PORT;
}

/* Another one is no listener of a waypoint, but is one of a gateway. */
static bool is_valid(const struct json *listener)
{
    static const char *const known[] = {"HBONE", "HTTP", "HTTPS", "TLS", "TCP", "istio.io/PROXY"};

    for (size_t i = 0; i < ARRAY_LEN(known); i++) {
        if (strcmp(json_str_at(listener, "protocol", ""), known[i]) == 0) {
            return true;
        }
    }
    return false;
}

static bool has_mesh(const struct json *listeners)
{
    for (size_t i = 0; i < json_count(listeners); i++) {
        if (is_mesh(json_item(listeners, i))) {
            return true;
        }
    }
    return false;
}

static void describe_fix(const struct json *listener, size_t index, struct strbuf *out)
{
    int64_t port = json_int_at(listener, "port", 0);

    if (!is_mesh_protocol(listener)) {
        strbuf_printf(out, "; spec.listeners[%zu].protocol: write HBONE instead of %.64s", index,
                      json_str_at(listener, "protocol", ""));
    }
    if (port != HBONE_PORT) {
        strbuf_printf(out, "; spec.listeners[%zu].port: write %d instead of %lld", index,
                      HBONE_PORT, (long long)port);
    }
}

/* Istio's words, and what to write instead. False: it is as it should be. */
static bool describe_listener(const struct json *listeners, size_t index, struct strbuf *out)
{
    const struct json *listener = json_item(listeners, index);

    if (is_mesh(listener)) {
        return false;
    }
    if (is_valid(listener)) {
        strbuf_puts(out, "Expected a single listener on port 15008 with protocol \"HBONE\"");
    } else {
        strbuf_printf(out, "protocol \"%.64s\" is unsupported",
                      json_str_at(listener, "protocol", ""));
    }
    if (has_mesh(listeners)) {
        strbuf_printf(out, "; spec.listeners[%zu]: remove it, it is not used", index);
    } else {
        describe_fix(listener, index, out);
    }
    return true;
}

static void add_route_kinds(struct json *kinds, const struct json *listener)
{
    static const char *const http[] = {"HTTPRoute", "GRPCRoute"};
    const char *protocol = json_str_at(listener, "protocol", "");

    if (strcmp(protocol, "HTTP") != 0 && strcmp(protocol, "HTTPS") != 0) {
        return;
    }
    for (size_t i = 0; i < ARRAY_LEN(http); i++) {
        struct json *k = json_new_object();
        json_set_str(k, "group", "gateway.networking.k8s.io");
        json_set_str(k, "kind", http[i]);
        json_append(kinds, k);
    }
}

static struct json *listener_status(const struct json *gateway, size_t index)
{
    const struct json *listeners = json_array_at(gateway, "spec.listeners");
    const struct json *listener = json_item(listeners, index);
    static const char fine[] = "No errors found";
    AUTO(strbuf) struct strbuf text = {0};
    const char *name = json_str_at(listener, "name", "");
    const struct json *had = json_get(former_listener(gateway, name), "conditions");
    int64_t g = json_int_at(gateway, "metadata.generation", 0);
    bool good = !describe_listener(listeners, index, &text);
    struct json *s = json_new_object();
    struct json *list = json_new_array();

    add(list, had,
        (struct condition){"Accepted", good, good ? "Accepted" : "UnsupportedProtocol",
                           good ? fine : strbuf_text(&text), g, false});
    add(list, had, (struct condition){"Conflicted", false, "NoConflicts", fine, g, false});
    add(list, had, (struct condition){"Programmed", true, "Programmed", fine, g, false});
    add(list, had, (struct condition){"ResolvedRefs", true, "ResolvedRefs", fine, g, false});
    json_set_str(s, "name", name);
    json_set_int(s, "attachedRoutes", 0); /* a waypoint's routes have Services as parents */
    json_set(s, "conditions", list);
    json_set(s, "supportedKinds", json_new_array());
    add_route_kinds(json_get(s, "supportedKinds"), listener);
    return s;
}

/* ---- addresses */

static bool has_port(const struct gateway_view *v, int64_t port)
{
    for (unsigned i = 0; i < v->port_count; i++) {
        if (v->ports[i].port == port) {
            return true;
        }
    }
    return false;
}

/* Where its listeners can be reached: "host:port and host:port". True: all of them. */
static bool write_ports(const struct json *gateway, const struct gateway_view *v,
                        struct strbuf *found, struct strbuf *missing)
{
    const struct json *all = json_array_at(gateway, "spec.listeners");
    int64_t first = -1;

    for (size_t i = 0; i < json_count(all); i++) {
        int64_t port = json_int_at(json_item(all, i), "port", 0);
        if (port == first) {
            continue;
        }
        first = first < 0 ? port : first;
        if (has_port(v, port)) {
            strbuf_printf(found, "%s%s:%lld", found->len > 0 ? " and " : "", v->hostname,
                          (long long)port);
        } else {
            strbuf_printf(missing, "%sport %lld not found for hostname \"%s\"",
                          missing->len > 0 ? "; " : "", (long long)port, v->hostname);
        }
    }
    return missing->len == 0;
}

static struct condition programmed(const struct json *gateway, const struct gateway_view *v,
                                   struct strbuf *text)
{
    AUTO(strbuf) struct strbuf found = {0};
    AUTO(strbuf) struct strbuf missing = {0};
    struct condition c = {.type = "Programmed",
                          .generation = json_int_at(gateway, "metadata.generation", 0)};

    if (!v->exists) {
        c.reason = "AddressNotAssigned";
        strbuf_printf(text,
                      "Failed to assign to any requested addresses: hostname \"%s\" not found",
                      v->hostname);
    } else if (!write_ports(gateway, v, &found, &missing)) {
        c.reason = "AddressNotUsable";
        strbuf_printf(text, "Failed to assign to any requested addresses: %s",
                      strbuf_text(&missing));
    } else if (!v->has_endpoints) {
        c.reason = "AddressNotAssigned";
        strbuf_printf(text,
                      "Failed to assign to any requested addresses: no instances found for "
                      "hostname \"%s\"",
                      v->hostname);
    } else {
        c.status = true;
        c.reason = "Programmed";
        strbuf_printf(text, "Resource programmed, assigned to service(s) %s", strbuf_text(&found));
    }
    c.message = strbuf_text(text);
    return c;
}

static void add_address(struct json *list, const char *type, const char *value)
{
    struct json *a = json_new_object();

    json_set_str(a, "type", type);
    json_set_str(a, "value", value);
    json_append(list, a);
}

/* Once given they stay: a waypoint that is dead must not look like none. */
static struct json *addresses(const struct json *gateway, const struct gateway_view *v,
                              bool is_programmed)
{
    const char *only = json_str(json_get(json_object_at(gateway, "metadata.annotations"),
                                         "networking.istio.io/address-type"),
                                "");
    const struct json *had = json_array_at(gateway, "status.addresses");
    struct json *list;
    char text[IP_TEXT];

    if (!is_programmed) {
        return had ? json_clone(had) : NULL;
    }
    list = json_new_array();
    for (unsigned i = 0; i < v->vip_count && strcmp(only, "Hostname") != 0; i++) {
        add_address(list, "IPAddress", ip_format(&v->vips[i], text));
    }
    if (strcmp(only, "IPAddress") != 0) {
        add_address(list, "Hostname", v->hostname);
    }
    return list;
}

/* ---- whether it is accepted */

/* "spec.addresses[0].type: ..." of the first that is none. */
static bool has_odd_address(const struct json *gateway, struct strbuf *text)
{
    const struct json *all = json_array_at(gateway, "spec.addresses");

    for (size_t i = 0; i < json_count(all); i++) {
        const char *type = json_str_at(json_item(all, i), "type", "IPAddress");
        if (strcmp(type, "IPAddress") != 0 && strcmp(type, "Hostname") != 0) {
            strbuf_printf(text,
                          "only Hostname and IPAddress are supported; spec.addresses[%zu].type: "
                          "write one of them instead of %.64s",
                          i, type);
            return true;
        }
    }
    return false;
}

static struct condition accepted(const struct json *gateway, struct strbuf *text)
{
    const struct json *all = json_array_at(gateway, "spec.listeners");
    struct condition c = {.type = "Accepted",
                          .status = true,
                          .reason = "Accepted",
                          .message = "Resource accepted",
                          .generation = json_int_at(gateway, "metadata.generation", 0)};
    size_t bad = 0;

    for (size_t i = 0; i < json_count(all); i++) {
        bad += !is_valid(json_item(all, i));
    }
    if (has_odd_address(gateway, text)) {
        c.status = false;
        c.reason = "UnsupportedAddress";
        c.message = strbuf_text(text);
    } else if (bad > 0) {
        c.status = bad < json_count(all);
        c.reason = "ListenersNotValid";
        c.message = c.status ? "One or more of the Gateway's listeners are invalid"
                             : "None of the Gateway's listeners are valid";
    }
    return c;
}

/* ---- the whole */

struct json *gateway_status(const struct json *gateway, const struct gateway_view *v)
{
    const struct json *had = json_array_at(gateway, "status.conditions");
    const struct json *listeners = json_array_at(gateway, "spec.listeners");
    int64_t g = json_int_at(gateway, "metadata.generation", 0);
    AUTO(strbuf) struct strbuf text = {0};
    AUTO(strbuf) struct strbuf odd = {0};
    struct json *status = json_new_object();
    struct json *list = json_make_array(status, "conditions");
    struct condition p = programmed(gateway, v, &text);
    struct json *at = addresses(gateway, v, p.status);

    add(list, had, accepted(gateway, &odd));
    add(list, had, p);
    add(list, had,
        (struct condition){"ResolvedRefs", true, "ResolvedRefs", "All references resolved", g,
                           false});
    if (at) {
        json_set(status, "addresses", at);
    }
    json_set(status, "listeners", json_new_array());
    for (size_t i = 0; i < json_count(listeners); i++) {
        json_append(json_get(status, "listeners"), listener_status(gateway, i));
    }
    return status;
}

struct json *gateway_status_of_no_class(const struct json *gateway)
{
    const struct json *had = json_array_at(gateway, "status.conditions");
    const char *class = json_str_at(gateway, "spec.gatewayClassName", "");
    int64_t g = json_int_at(gateway, "metadata.generation", 0);
    AUTO(strbuf) struct strbuf text = {0};
    struct json *status = json_new_object();
    struct json *list = json_make_array(status, "conditions");

    strbuf_printf(&text,
                  "spec.gatewayClassName: there is no GatewayClass \"%.128s\"; write %s for a "
                  "waypoint",
                  class, WAYPOINT_CLASS);
    add(list, had, (struct condition){"Accepted", false, "Invalid", strbuf_text(&text), g, false});
    add(list, had,
        (struct condition){"Programmed", false, "Invalid", strbuf_text(&text), g, false});
    return status;
}

struct json *class_status(const struct json *class)
{
    struct json *status = json_new_object();

    add(json_make_array(status, "conditions"), json_array_at(class, "status.conditions"),
        (struct condition){"Accepted", true, "Accepted", "Handled by Istio controller",
                           json_int_at(class, "metadata.generation", 0), false});
    return status;
}
