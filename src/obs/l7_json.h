/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a waypoint was told, compiled, as its /config_dump shows it and `ambit routes` reads it. Pure.
 *
 * "bound": [{"service": "shop/cart.shop.svc.cluster.local", "served": true,
 *   "ports": [{"port": 80, "protocol": "HTTP",
 *     "rules": [{"rule": "shop.r.0", "kind": "HTTPRoute", "routeNamespace": "shop", "route": "r", "index": 0,
 *                "match": {"path": {"prefix": "/v2"}, "method": "GET", "headers": ["x-user"], "query": [],
 *                          "text": "GET /v2/... x-user=jane"},
 *                "filters": ["..."], "timeoutMs": 0, "backendTimeoutMs": 0, "retries": 0, "invalid": "",
 *                "backends": [{"service": "shop/v1.shop.svc...", "port": 80, "weight": 9, "invalid": "",
 *                              "filters": []}]}],
 *     "tcpBackends": [...]}],
 *   "authorization": [{"namespace": "shop", "name": "p", "action": "DENY", "rules": 1, "dryRun": false,
 *                      "broken": false, "flaw": ""}],
 *   "authentication": [...]}],
 * "waypointAuthorization", "waypointAuthentication": the same, of the waypoint itself
 *
 * Rules stand once a match, in order of precedence: the first that fits is the one that counts.
 */
#pragma once

#include "codec/json.h"
#include "model/l7.h"

void l7_json(struct json *into, const struct l7 *w);

const char *l7_route_kind_name(enum l7_route_kind k); /* "HTTPRoute", ... */
/* "GET /v2/... x-user=jane ?debug=1"; "..." stands for any further segments. */
void l7_match_text(const struct l7_match *m, struct strbuf *out);
