/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From routes, policies and traffic rules to what a waypoint is told (proto/waypoint.proto). Fills
 * templates of the model whose texts are borrowed from the objects and the arena.
 */
#pragma once

#include "base/arena.h"
#include "codec/json.h"
#include "control/mesh.h"
#include "model/l7_policy.h"
#include "model/l7_route.h"
#include "model/l7_traffic.h"

/* What a backendRef of the route means; fills ns, hostname, port, or invalid. */
struct backend_finder {
    void (*find)(void *arg, const struct json *ref, struct l7_backend *out, struct arena *a);
    void *arg;
};

/* The rule; whose it is (service, port, names, rank) is the caller's to fill in. */
void translate_route_rule(struct l7_route *out, enum l7_route_kind kind, const struct json *rule,
                          const struct backend_finder *finder, struct arena *a);

/* An AuthorizationPolicy or RequestAuthentication; the target is the caller's to fill in. */
void translate_l7_policy(struct l7_policy *out, enum l7_policy_kind kind, const struct json *object,
                         const struct mesh *mesh, struct arena *a);

/* Of a trafficPolicy, or of one of its portLevelSettings. */
void translate_traffic(struct l7_traffic *out, const struct json *policy);
