/* SPDX-License-Identifier: Apache-2.0 */
/* How a pod's tunnels get their secure streams: a marked socket in the pod's namespace, TLS with the
 * pod's certificate, one of the expected identities at the other end (contract 2.1, 2.9). */
#pragma once

#include "hbone/pool.h"

/* An hbone_dialer's open; arg is the struct pod. */
struct stream *pod_dial_secure(void *arg, const struct hbone_target *target);
