/* SPDX-License-Identifier: Apache-2.0 */
/* What pools of jobs have to do, and what they turned away. */
#pragma once

#include "io/jobs.h"
#include "obs/metrics.h"

struct job_pool {
    const char *label; /* `pool="handshakes"` */
    struct jobs *jobs; /* as long as somebody scrapes */
};

void metrics_probe_jobs(struct metrics *m, const struct job_pool *pools, unsigned count);
