/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PeerAuthentication (contract 4.4): what is kept of one, the policy that one with port-level modes
 * becomes, and which policies a workload has to name because of them. Pure but for interning.
 */
#pragma once

#include <stdbool.h>

#include "base/arena.h"
#include "codec/json.h"
#include "control/labels.h"
#include "control/mesh.h"
#include "model/policy.h"

/* No object of Kubernetes can be called so: an underscore is in no name. */
#define PEER_STATIC_NAME "istio_converted_static_strict"

enum peer_mode { PEER_UNSET = 0, PEER_DISABLE, PEER_PERMISSIVE, PEER_STRICT };

struct peer_port {
    uint16_t port;
    uint8_t mode; /* DISABLE, PERMISSIVE or STRICT */
};

enum peer_level {
    PEER_IGNORED, /* of the root namespace, but with a selector */
    PEER_MESH,
    PEER_NAMESPACE,
    PEER_WORKLOAD
};

struct peer_facts {
    const char *ns;
    const char *name;
    const char *created; /* as written: its order is the order in time */
    struct labels selector;
    struct peer_port *ports; /* ascending */
    unsigned port_count;
    uint8_t mode;  /* enum peer_mode */
    uint8_t level; /* enum peer_level */
};

enum { PEER_PORTS_MAX = 4096 };

void peer_facts_read(struct peer_facts *out, const struct json *object, const struct mesh *mesh,
                     struct intern *pool);
void peer_facts_fini(struct peer_facts *f);
/* Of two that apply the older one wins; at the same second the first by name. */
bool peer_facts_before(const struct peer_facts *a, const struct peer_facts *b);

/* What applies where nothing is said: the namespace's mode, else the mesh's, else permissive. */
enum peer_mode peer_inherited(const struct peer_facts *of_mesh, const struct peer_facts *of_ns);

enum peer_binding { PEER_BIND_NOTHING, PEER_BIND_STATIC, PEER_BIND_CONVERTED };
/* own: the policy that selects the workload, NULL: none. CONVERTED stands for own's policy. */
enum peer_binding peer_binding_of(const struct peer_facts *own, enum peer_mode inherited);

/* The policy for own, a template in the arena; false: there is none to publish. */
bool peer_convert(struct policy *out, const struct peer_facts *own, enum peer_mode inherited,
                  struct arena *a);
/* Denies every caller without an identity; published as soon as there is any PeerAuthentication. */
void peer_static_policy(struct policy *out, const struct mesh *mesh);
/* "converted_peer_authentication_<name>" in the arena. */
const char *peer_converted_name(const struct peer_facts *own, struct arena *a);
