/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Asks a program of a local workload over HTTP, again and again, whether it is ready: 200 is yes,
 * anything else, or no answer in time, is no. One yes counts; a no counts after a few in a row, as
 * with kubelet's probes. Lives on the agent's loop; its owner is woken with WAKE_CHILD when the
 * verdict changes.
 */
#pragma once

#include "base/ip.h"
#include "io/loop.h"

enum ready_verdict { READY_UNKNOWN, READY_YES, READY_NO };

enum {
    READY_PROBE_PERIOD_MS = 1000,
    READY_PROBE_FIRST_MS = 100, /* until the first yes: a start is short */
    READY_PROBE_LIMIT_MS = 1000,
    READY_PROBE_FAILURES = 3
};

struct ready_probe;

/* GET /healthz/ready at this endpoint. */
struct ready_probe *ready_probe_new(struct loop *l, const struct endpoint *at, struct task *owner);
void ready_probe_free(struct ready_probe *p);
enum ready_verdict ready_probe_verdict(const struct ready_probe *p);
