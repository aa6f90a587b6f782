/* SPDX-License-Identifier: Apache-2.0 */
/* The world as /config_dump shows it (contract 9.6): names and shapes are read by istioctl. */
#pragma once

#include "codec/json.h"
#include "model/world.h"

struct json *workload_json(const struct workload *w);
struct json *service_json(const struct world *world, const struct service *s);
struct json *policy_json(const struct policy *p);

/* "workloads", "services", "policies" of a world, sorted. */
void world_json(struct json *into, const struct world *w);
