/* SPDX-License-Identifier: Apache-2.0 */
/* What /config_dump shows (contract 9.6): names and shapes are read by istioctl. */
#pragma once

#include "ca/cert_manager.h"
#include "codec/json.h"
#include "model/world.h"
#include "ztunnel/config.h"

struct json *dump_workload(const struct workload *w);
struct json *dump_service(const struct world *world, const struct service *s);
struct json *dump_policy(const struct policy *p);

/* "workloads", "services", "policies" of a world, sorted. */
void dump_world(struct json *into, const struct world *w);
struct json *dump_certificates(const struct cert_manager *m);
struct json *dump_config(const struct config *c);
struct json *dump_version(const struct config *c);
