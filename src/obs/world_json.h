/* SPDX-License-Identifier: Apache-2.0 */
/* The world as /config_dump shows it (contract 9.6): names and shapes are read by istioctl. */
#pragma once

#include "codec/json.h"
#include "model/world.h"

/* "workloads", "services", "policies" of a world, sorted. */
void world_json(struct json *into, const struct world *w);
