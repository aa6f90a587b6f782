/* SPDX-License-Identifier: Apache-2.0 */
/* What /config_dump shows of routes and policies. */
#pragma once

#include "codec/json.h"
#include "model/l7.h"

/* "bound": the services that are served, with their ports, rules in order of precedence, policies. */
void dump_l7(struct json *into, const struct l7 *w);
