/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one form of a request's path and host that routes, policies, logs and the next hop see. Made
 * once, before anything is decided: a path that two programs read differently is how policies are
 * walked around. Pure.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "base/str.h"

enum http_slashes { HTTP_SLASHES_KEPT = 0, HTTP_SLASHES_MERGED };

enum { HTTP_PATH_MAX = 16 << 10, HTTP_HOST_MAX = 255 + 6 };

/* The path before the '?', or "*", is already as http_path_normalise would make it: nothing to copy. */
bool http_path_is_normal(struct slice path, enum http_slashes how);
/* Appends the path: dot segments resolved (RFC 3986 5.2.4), escapes of unreserved characters
 * decoded and the others in upper case (6.2.2), '\' made '/'. What stays escaped ("%2F", "%5C")
 * stays. Never longer than what came, and normal. -ERR_SYNTAX: does not begin with '/', a '#', '?',
 * blank or control character, a broken escape, "%00", ".." above the root. -ERR_TOO_LARGE. On
 * failure out is as it was. */
MUST_USE int http_path_normalise(struct slice path, enum http_slashes how, struct strbuf *out,
                                 struct diag *why);

/* Appends a path as somebody writes it, with the escapes that requests have: spelled as above, and of
 * what no request has bare (beyond ASCII, blanks). All else stays, broken escapes too: what is compared
 * with normal paths may hold wildcards. */
void http_path_respell(struct slice path, struct strbuf *out);

/* Appends the authority (Host, :authority) in lower case and without the dot behind the name; a port
 * stays. -ERR_SYNTAX: userinfo, a path, a port that is none, characters no host has. On failure out
 * is as it was. */
MUST_USE int http_host_canonical(struct slice authority, struct strbuf *out, struct diag *why);
/* Of a canonical authority: the host without the port; brackets of IPv6 stay. */
struct slice http_host_name(struct slice canonical);
