/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a waypoint was told, compiled, as its /config_dump shows it and `ambit routes` reads it. Pure.
 *
 * "l7Services": [{"service": "shop/cart.shop.svc.cluster.local", "bound": true,
 *   "ports": [{"port": 80, "protocol": "HTTP",
 *     "rules": [{"match": "GET /v2/... x-user=jane", "kind": "HTTPRoute", "route": "shop/r", "rule": 0,
 *                "rule_name": "", "filters": ["..."], "invalid": "",
 *                "backends": [{"name": "shop/v1.shop.svc...", "port": 80, "weight": 9, "invalid": ""}],
 *                "request_timeout_ms": 0, "backend_timeout_ms": 0, "retries": 0}]}],
 *   "policies": [{"policy": "shop/p", "kind": "AuthorizationPolicy", "action": "DENY", "rules": 1,
 *                 "dry_run": false, "state": "ok", "flaw": ""}]}]
 * "l7Policies": the same, of the waypoint itself
 *
 * Rules stand once a match, in order of precedence: the first that fits is the one that counts.
 */
#pragma once

#include "codec/json.h"
#include "model/l7.h"

void l7_json(struct json *into, const struct l7 *w);

/* Parts of it; the caller's. */
struct json *l7_rule_json(const struct l7_route *r, const struct l7_match *m);
struct json *l7_backends_json(const struct l7_route *r);
const char *l7_route_kind_name(enum l7_route_kind k); /* "HTTPRoute", ... */
/* "GET /v2/... x-user=jane ?debug=1"; "..." stands for any further segments. */
void l7_match_text(const struct l7_match *m, struct strbuf *out);
