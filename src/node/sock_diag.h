/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Looks at the sockets of the network namespace the calling thread is in, through the kernel's
 * sock_diag. Reading marks needs CAP_NET_ADMIN there. Blocking: job threads only.
 * Format: linux/inet_diag.h.
 */
#pragma once

#include <stdint.h>

#include "base/err.h"
#include "base/ip.h"

/* How many sockets belong to connections that the proxy carries right now: marked, alive, and not
 * themselves tunnels (port 15008): an idle tunnel carries nobody. */
MUST_USE int sock_diag_count_carried_blocking(unsigned *out, struct diag *why);

/* Does a marked TCP listener answer at this port for that family? */
MUST_USE int sock_diag_has_listener_blocking(enum ip_family family, uint16_t port, bool *out,
                                             struct diag *why);
