/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From discovery to snapshots: takes the four kinds of resources a waypoint is told, compiles what an
 * answer brought, publishes it to the engines. A resource that does not decode is refused alone, and
 * what is held of it stays. The control loop's.
 */
#pragma once

#include "model/l7.h"
#include "xds/ads_client.h"

struct routes_sink;

/* slots get every new snapshot; the first one, empty, at once. Everything is borrowed. */
struct routes_sink *routes_sink_new(struct snap_slot *slots, unsigned count);
/* After the loops that adopt have ended and their slots were emptied. */
void routes_sink_free(struct routes_sink *s);
AUTO_DEFINE(routes_sink, struct routes_sink *, routes_sink_free);
/* Never NULL; borrowed until the next commit. */
const struct l7 *routes_sink_now(const struct routes_sink *s);
/* Addresses and the four kinds; the sink is s. Borrowed from s. */
const struct ads_interest *routes_sink_interest(const struct routes_sink *s);
