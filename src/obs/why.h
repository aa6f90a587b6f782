/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Would A reach B, and if not, who stops it: the answer of whoever decides it, with the very functions
 * it decides with (route_decide, rbac_decide), as JSON for `ambit why`. Every node proxy and waypoint
 * knows the whole mesh, so any of them can be asked. Layer 4; what a waypoint makes of a request is
 * its own page. Pure.
 *
 * Asked with from, to, port and ns (of names without one):
 *     "shop/cart", "cart", "cart.shop", "cart.shop.svc.cluster.local", "10.244.1.7"
 *     from alone: "spiffe://cluster.local/ns/shop/sa/web": whoever has this identity, the way being a member's
 *
 * {"from": {"namespace", "name", "address", "node", "identity", "mesh": true},
 *  "to": {"kind": "service|workload", "namespace", "name", "hostname", "port": 80, "waypoint": "ns/host"},
 *  "route": {"kind": "hbone|waypoint|plain|denied|double|unknown", "reason": "...", "next": "ns/name"},
 *  "endpoints": [{"namespace", "name", "address", "port", "node", "healthy", "mesh", "peer": "spiffe://...",
 *                 "outcome": "allow|deny|hold|unjudged", "reason": "...", "policy": "ns/name",
 *                 "checked": [{"policy", "action", "matches", "dry_run"}]}],
 *  "verdict": "allow|deny|partly|hold", "text": "a sentence"}
 */
#pragma once

#include "base/err.h"
#include "base/str.h"

struct json;
struct world;

enum { WHY_ENDPOINTS_MAX = 64, WHY_POLICIES_MAX = 32 };

/* The caller's; NULL and *why: the question makes no sense, or there is no such thing. network: the
 * asked proxy's own. */
struct json *why_answer(const struct world *w, const char *network, struct slice query,
                        struct diag *why);
/* For an admin page: the answer, or {"error": ...} with status 400 or 404. */
void why_render(const struct world *w, const char *network, struct slice query, unsigned *status,
                struct strbuf *out);
