/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What policies have to say that do not act: AUDIT, and those with the annotation istio.io/dry-run.
 * They are counted here (wp_authz_audit, wp_authz_dry_run), and stand in the access record of the
 * request or connection (waypoint contract B.1).
 */
#pragma once

#include "base/arena.h"
#include "model/l7_authz.h"
#include "obs/metrics.h"

struct policy_notes {  /* NULL: nothing to say. Texts are an arena's or static. */
    const char *audit; /* "namespace/name[rule]" of the first AUDIT policy that hits */
    const char
        *dry_run_result; /* "allowed" or "denied": as if dry-run policies were the only ones */
    const char *dry_run_policy; /* that said so; "none": ALLOW policies, and none hits */
};

extern const struct metric_set policy_audit_metrics;
extern const struct metric_set policy_dry_run_metrics;

/* Counts what v holds and describes it; service: whose requests are judged, NULL: a workload's. */
void policy_notes_take(struct policy_notes *out, const struct l7_authz *v, const char *service,
                       struct metrics_shard *shard, struct arena *a);
