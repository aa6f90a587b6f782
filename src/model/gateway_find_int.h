/* SPDX-License-Identifier: Apache-2.0 */
/* What a gateway reference points at, for outbound and inbound decisions alike. */
#pragma once

#include "model/gateway.h"
#include "model/world.h"

/* The service behind the reference, by VIP or name; NULL: none, it may be a workload. */
const struct service *gateway_service(const struct world *w, const struct gateway *g,
                                      const char *client_ns);
const struct workload *gateway_workload(const struct world *w, const struct gateway *g);
/* Does a workload of this identity and address form the gateway (contract 3.2.1 step 10)? */
bool gateway_has_member(const struct world *w, const struct gateway *g, const struct identity *id,
                        const struct ip *ip);
