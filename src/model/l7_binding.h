/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A service that this waypoint serves, and what its ports speak (proto/waypoint.proto, Binding).
 * Immutable, counted across threads, one allocation. Fill a template with borrowed pointers,
 * l7_binding_new copies it.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/ref.h"

enum l7_protocol {                 /* of a service port */
                   L7_UNKNOWN = 0, /* found out from the first bytes */
                   L7_HTTP,
                   L7_HTTP2, /* upstream with prior knowledge */
                   L7_GRPC,
                   L7_TCP,
                   L7_TLS,
                   L7_PROTOCOLS
};

struct l7_bound_port {
    uint16_t port;
    enum l7_protocol protocol;
};

struct l7_binding {
    struct aref refs;     /* left alone by whoever fills a template */
    const char *resource; /* the discovery resource's name */
    const char *version;  /* the control plane's, opaque */
    const char *key;      /* "ns/hostname"; made by l7_binding_new */
    const char *ns;
    const char *hostname;
    const struct l7_bound_port *ports;
    size_t port_count;
};

enum { L7_BINDING_PORTS_MAX = 65535 };

/* The caller's on success. -ERR_SYNTAX (no host name, port 0), -ERR_LIMIT, -ERR_EXISTS (a port
 * twice). */
MUST_USE int l7_binding_new(const struct l7_binding **out, const struct l7_binding *from,
                            struct diag *why);
const struct l7_binding *l7_binding_ref(const struct l7_binding *b);   /* NULL stays NULL */
const struct l7_binding *l7_binding_unref(const struct l7_binding *b); /* returns NULL */
AUTO_DEFINE(l7_binding, const struct l7_binding *, l7_binding_unref);

const char *l7_protocol_name(enum l7_protocol p); /* "HTTP", "TCP", ... */
