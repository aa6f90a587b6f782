/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The compiled tables of waypoints (/config_dump, "bound": obs/l7_json.h) as rows for people, one a
 * match, in the order in which they are tried. Pure.
 */
#pragma once

#include <stdbool.h>

struct json;
struct strbuf;

/* Is this key ("ns/hostname") what somebody means by "cart", "shop/cart", "cart.shop" or the whole
 * host name? ns: of names without one; NULL: any. */
bool route_view_is_named(const char *key, const char *word, const char *ns);
/* Appends rows of one served service: service, waypoint, port, protocol, match, kind, route
 * ("shop/r"), rule, backends (["v1:80 90%", ...]), filters, timeout, retries, state ("ok" or why not).
 * A port without routes has one row, "straight to its endpoints". */
void route_view_service(const struct json *service, const char *waypoint, struct json *into);
/* "OK: 3 matches of 1 service, tried from the top". False: some cannot be followed. */
bool route_view_verdict(const struct json *rows, struct strbuf *out);
/* A line a policy of the service: "  DENY shop/p (1 rule)". */
void route_view_policies(const struct json *service, struct strbuf *out);
