/* SPDX-License-Identifier: Apache-2.0 */
#include "model/l7_binding.h"

#include <stdlib.h>

#include "model/const_int.h"
#include "model/l7_pack_int.h"

static struct l7_binding *lay_out(struct pack *p, const struct l7_binding *from)
{
    struct l7_binding *room = pack_room(p, sizeof(*room), _Alignof(struct l7_binding));
    struct l7_binding to = *from;

    to.ports = pack_copy(p, from->ports, from->port_count * sizeof(*from->ports),
                         _Alignof(struct l7_bound_port));
    to.resource = pack_text(p, from->resource);
    to.version = pack_text(p, from->version);
    to.key = pack_key(p, from->ns, from->hostname);
    to.ns = pack_text(p, from->ns);
    to.hostname = pack_text(p, from->hostname);
    if (room) {
        aref_init(&to.refs);
        memcpy(room, &to, sizeof(to));
    }
    return room;
}

static int by_port(const void *a, const void *b)
{
    const struct l7_bound_port *x = a;
    const struct l7_bound_port *y = b;

    return (int)x->port - (int)y->port;
}

static int check(const struct l7_binding *b, struct diag *why)
{
    if (text_is_empty(b->hostname)) {
        return FAIL(why, -ERR_SYNTAX, "hostname: is empty");
    }
    if (b->port_count > L7_BINDING_PORTS_MAX) {
        return FAIL(why, -ERR_LIMIT, "ports: %zu, at most %d", b->port_count, L7_BINDING_PORTS_MAX);
    }
    for (size_t i = 0; i < b->port_count; i++) {
        if (b->ports[i].port == 0) {
            return FAIL(why, -ERR_RANGE, "ports[%zu].port: is 0", i);
        }
    }
    return 0;
}

int l7_binding_new(const struct l7_binding **out, const struct l7_binding *from, struct diag *why)
{
    struct pack p = {.base = NULL};
    int r = check(from, why);

    if (r < 0) {
        return r;
    }
    (void)lay_out(&p, from); /* measures */
    p = (struct pack){.base = mem_alloc(p.used)};
    struct l7_binding *b = lay_out(&p, from);
    struct l7_bound_port *ports = unconst(b->ports);
    qsort(ports, b->port_count, sizeof(*ports), by_port);
    for (size_t i = 1; i < b->port_count; i++) {
        if (ports[i].port == ports[i - 1].port) {
            r = FAIL(why, -ERR_EXISTS, "ports: %u is given twice", ports[i].port);
            mem_free(b);
            return r;
        }
    }
    *out = b;
    return 0;
}

const struct l7_binding *l7_binding_ref(const struct l7_binding *b)
{
    if (b) {
        aref_get(&((struct l7_binding *)unconst(b))->refs);
    }
    return b;
}

const struct l7_binding *l7_binding_unref(const struct l7_binding *b)
{
    struct l7_binding *mine = unconst(b);

    if (mine && aref_put(&mine->refs)) {
        mem_free(mine);
    }
    return NULL;
}

const char *l7_protocol_name(enum l7_protocol p)
{
    static const char *const names[L7_PROTOCOLS] = {
        [L7_UNKNOWN] = "unknown", [L7_HTTP] = "HTTP", [L7_HTTP2] = "HTTP2",
        [L7_GRPC] = "GRPC",       [L7_TCP] = "TCP",   [L7_TLS] = "TLS"};

    return p < L7_PROTOCOLS ? names[p] : names[L7_UNKNOWN];
}
