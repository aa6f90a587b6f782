/* SPDX-License-Identifier: Apache-2.0 */
/* The metrics of the control plane, under the names that dashboards of Istio know (contract 12). */
#pragma once

#include "ca/ca_service.h"
#include "control/front.h"
#include "control/index.h"
#include "control/status_writer.h"
#include "control/waypoint_pods.h"
#include "obs/metrics.h"
#include "xds/ads_server.h"

struct report;

struct report *report_new(void);
void report_free(struct report *r);
AUTO_DEFINE(report, struct report *, report_free);
struct metrics *report_metrics(struct report *r);
struct metrics_shard *report_shard(struct report *r); /* the loop's */

struct report_sources {
    const struct index *index;
    const struct ads_server_stats *ads;
    const struct ca_service_stats *ca;
    const struct front_stats *front;
    const struct status_writer_stats *status;
    const struct waypoint_pods_stats *pods; /* NULL: somebody else makes them */
    int64_t root_expires_s;                 /* from now */
};
/* Takes over what the parts have counted since the last time. */
void report_update(struct report *r, const struct report_sources *s);
