/* SPDX-License-Identifier: Apache-2.0 */
/* Which endpoint of a service takes a connection (contract 3.3). Pure: chance comes in as a
 * seed. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "model/world.h"

enum balance_for {
    BALANCE_STANDARD = 0, /* the service must define the port */
    BALANCE_WAYPOINT      /* or the endpoint has an application tunnel (contract 3.2.2) */
};

struct balance_query {
    const struct workload *source;
    const struct service *service;
    uint16_t port; /* as dialled: a service port */
    enum balance_for purpose;
    uint64_t seed;
};

struct balance_pick {
    struct backend backend;
    uint16_t target_port;
};

/* False: nobody is eligible. Not to be asked about a BALANCE_PASSTHROUGH service. */
bool balance_choose(const struct world *w, const struct balance_query *q, struct balance_pick *out);
/* How well an endpoint matches the service's routing preference; higher is better. */
unsigned balance_rank(const struct service *s, const struct workload *source,
                      const struct workload *endpoint);
/* Endpoint's own map, else the service's target, else the port itself where an application tunnel
 * with a port takes it, else 0: none. */
uint16_t balance_target_port(const struct service *s, const struct backend *b, uint16_t port);
/* Healthy, or the service takes all. */
bool balance_is_healthy(const struct service *s, const struct workload *endpoint);
