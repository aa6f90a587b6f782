/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a waypoint would make of a request, with the very functions it serves requests with, as JSON
 * for `ambit why`. Nothing is sent anywhere. Pure.
 *
 * Asked with to ("ns/hostname"), port, and what is known of the request: identity ("spiffe://...",
 * of the client's certificate), source_ip, method (GET), path (/, with its query), host (the
 * service's), header ("name: value", as often as needed; tokens come in them and are verified).
 *
 * {"verdict": "allow|deny", "status": 403, "text": "a sentence",
 *  "token": {"outcome": "unasked|none|valid|refused", "policy": "ns/name", "issuer": "of the rule",
 *            "principal": "iss/sub", "message": "Jwt is expired", "detail": "exp is ..."},
 *  "policy": {"outcome": "allow|deny", "policy": "ns/name", "rule": 0, "reason": "a sentence",
 *             "checked": [{"policy", "action", "matches", "dry_run", "rule"}]},
 *  "route": {"kind": "HTTPRoute", "route": "ns/name", "rule": 0, "rule_name": "", "match": "GET /...",
 *            "backends": [{"name": "ns/hostname", "port", "weight", "invalid"}],
 *            "outcome": "followed|none|bad rule|no backend|direct", "text"},
 *  "notes": ["..."]}
 */
#pragma once

#include <stdint.h>

#include "base/err.h"
#include "base/str.h"

struct json;
struct l7;

enum { L7_WHY_HEADERS_MAX = 32, L7_WHY_POLICIES_MAX = 64 };

/* The caller's; NULL and *why: the question makes no sense, or the service is not served here. */
struct json *l7_why_answer(const struct l7 *w, struct slice query, int64_t now_s, struct diag *why);
/* For an admin page: the answer as of now, or {"error": ...} with status 400 or 404. */
void l7_why_render(const struct l7 *w, struct slice query, unsigned *status, struct strbuf *out);
