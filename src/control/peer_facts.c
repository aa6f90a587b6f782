/* SPDX-License-Identifier: Apache-2.0 */
#include "control/peer_facts.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/num.h"

static enum peer_mode mode_of(const char *text)
{
    static const char *const names[] = {"UNSET", "DISABLE", "PERMISSIVE", "STRICT"};

    for (unsigned i = 0; i < ARRAY_LEN(names); i++) {
        if (strcmp(text, names[i]) == 0) {
            return (enum peer_mode)i;
        }
    }
    return *text ? PEER_STRICT : PEER_UNSET; /* a mode from the future is not to open anything */
}

static int by_port(const void *a, const void *b)
{
    const struct peer_port *x = a;
    const struct peer_port *y = b;

    return (x->port > y->port) - (x->port < y->port);
}

static void read_ports(struct peer_facts *f, const struct json *ports)
{
    size_t count = json_is_obj(ports) ? MIN_OF(json_count(ports), (size_t)PEER_PORTS_MAX) : 0;

    f->ports = count > 0 ? mem_array(count, sizeof(*f->ports)) : NULL;
    for (struct json_iter it = {0}; f->port_count < count && json_each(ports, &it);) {
        uint32_t port;
        enum peer_mode mode = mode_of(json_str_at(it.value, "mode", ""));
        if (num_parse_u32(it.key, strlen(it.key), UINT16_MAX, &port) == 0 && mode != PEER_UNSET) {
            f->ports[f->port_count++] = (struct peer_port){(uint16_t)port, (uint8_t)mode};
        }
    }
    if (f->port_count > 1) {
        qsort(f->ports, f->port_count, sizeof(*f->ports), by_port);
    }
}

static enum peer_level level_of(const struct peer_facts *f, const struct mesh *mesh)
{
    bool is_root = strcmp(f->ns, mesh->root_ns) == 0;

    if (f->selector.count == 0) {
        return is_root ? PEER_MESH : PEER_NAMESPACE;
    }
    return is_root ? PEER_IGNORED : PEER_WORKLOAD;
}

void peer_facts_read(struct peer_facts *out, const struct json *object, const struct mesh *mesh,
                     struct intern *pool)
{
    struct peer_facts f = {
        .ns = intern_text(pool, json_str_at(object, "metadata.namespace", "")),
        .name = intern_text(pool, json_str_at(object, "metadata.name", "")),
        .created = intern_text(pool, json_str_at(object, "metadata.creationTimestamp", "")),
        .mode = (uint8_t)mode_of(json_str_at(object, "spec.mtls.mode", ""))};

    labels_read(&f.selector, json_object_at(object, "spec.selector.matchLabels"), pool);
    read_ports(&f, json_object_at(object, "spec.portLevelMtls"));
    f.level = (uint8_t)level_of(&f, mesh);
    *out = f;
}

void peer_facts_fini(struct peer_facts *f)
{
    text_unref(f->ns);
    text_unref(f->name);
    text_unref(f->created);
    labels_fini(&f->selector);
    mem_free(f->ports);
    *f = (struct peer_facts){.ns = NULL};
}

bool peer_facts_before(const struct peer_facts *a, const struct peer_facts *b)
{
    int r = strcmp(a->created, b->created);

    return r != 0 ? r < 0 : strcmp(a->name, b->name) < 0;
}
