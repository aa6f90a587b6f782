/* SPDX-License-Identifier: Apache-2.0 */
/* Records of requests, as waypoints keep them (obs/http_access.h), as rows beside those of connections
 * (view.h), and a line of either. Pure. */
#pragma once

#include <stdbool.h>

struct json;
struct strbuf;

/* Rows like view_access makes them, with layer "L7", method, path, status, route, details. */
void flow_view_requests(const struct json *records, const char *waypoint, struct json *into);
void flow_view_line(const struct json *row, bool colour, struct strbuf *out);
