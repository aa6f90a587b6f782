/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Proof that the pod whose namespace the calling thread is in is really captured: the rules in the
 * kernel are the ones that were meant, the proxy's listeners are there, and a connection request that
 * leaves the pod is answered by one of them. The request is never completed, so the proxy sees no
 * connection. Blocking, at most about two seconds: job threads only.
 */
#pragma once

#include "base/err.h"
#include "base/ip.h"
#include "node/rules.h"

/* -ERR_UNAVAILABLE and a sentence when a part of the proof is missing. */
MUST_USE int proof_take_blocking(const struct rules *rules, struct diag *why);

/* The last part alone: 0 = captured and answered, -ECONNREFUSED = captured (or not) and refused,
 * -ERR_DEADLINE = nobody answered, -ENETUNREACH = the pod has no route for that family. */
MUST_USE int proof_probe_blocking(enum ip_family family, struct diag *why);
