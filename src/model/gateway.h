/* SPDX-License-Identifier: Apache-2.0 */
/* How a workload or service names its waypoint or network gateway (contract 5.7,
 * GatewayAddress). */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/ip.h"

enum gateway_kind { GATEWAY_NONE = 0, GATEWAY_HOSTNAME, GATEWAY_ADDRESS };

struct gateway {
    enum gateway_kind kind;
    uint16_t hbone_mtls_port; /* a service port where the gateway is a service (contract 2.9) */
    struct ip ip;             /* GATEWAY_ADDRESS */
    const char *network;      /* GATEWAY_ADDRESS */
    const char *ns;           /* GATEWAY_HOSTNAME */
    const char *hostname;     /* GATEWAY_HOSTNAME */
};

/* NULL and GATEWAY_NONE are equal. */
bool gateway_equal(const struct gateway *a, const struct gateway *b);
static inline bool gateway_is_set(const struct gateway *g)
{
    return g && g->kind != GATEWAY_NONE;
}
