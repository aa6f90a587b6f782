/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the control plane tells node proxies and waypoints, for whoever wants to judge with it: the very
 * resources, as they are on the wire (`ambit routes` and `ambit why` decode and compile them as a
 * proxy would), and which replicas of waypoints have taken in the newest. The control loop.
 *
 * Under EXTRA_PREFIX: published (all of it), namespaces/NS/published (what NS may be concerned by).
 * {"kind": "Published", "apiVersion": "ambit.io/v1",
 *  "items": [{"type": "type.googleapis.com/...", "name": "...", "value": "base64"}],
 *  "replicas": [{"gateway": "ns/name", "id": "waypoint~10.0.0.1~pod.ns~domain", "current": true}]}
 */
#pragma once

#include "base/str.h"
#include "xds/ads_server.h"

#define PUBLISHED_PREFIX "/apis/ambit.io/v1/"

struct published_sources { /* borrowed */
    struct catalog *const *catalogs;
    const struct ads_server *ads;
    const char *root_ns; /* its policies concern everybody */
};

/* As struct extra's render. */
void published_render(const struct published_sources *s, const char *path, unsigned *status,
                      struct strbuf *out);
