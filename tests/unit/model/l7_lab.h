/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Layer-7 resources and requests from short texts.
 *
 * A rule is its matches, separated by '|', each a list of words: "=/one" an exact path, "/v2" a
 * prefix, "~/a.*" an expression, "POST" a method, "h:name=value" a header, "h~name=expr", "h?name",
 * and q likewise for query parameters.
 */
#pragma once

#include "model/l7.h"
#include "model/l7_request.h"
#include "model/l7_table.h"

enum { LAB_HEADERS = 16 };

struct lab_request {
    struct l7_request q;
    struct l7_conn conn;
    char text[1024];
    struct {
        const char *name;
        const char *value;
    } headers[LAB_HEADERS];
    unsigned header_count;
};

/* "GET /path?query" and lines "name: value". Points into r. */
void lab_request(struct lab_request *r, const char *line, const char *headers);

struct lab_rule {
    const char *matches; /* NULL or "": none, which is everything */
    const char *backend; /* host name */
    int64_t created_s;
    const char *route; /* "ns/name"; NULL: "ns/r" */
    unsigned rule;
};
/* For port 80 of ns/svc; exits where the text is wrong. */
const struct l7_route *lab_route(const struct lab_rule *rule);
int lab_route_try(const struct l7_route **out, const struct lab_rule *rule, struct diag *why);
const struct l7_table *lab_table(const struct lab_rule *rules, size_t count);
/* The first backend's host name, "" where nothing matches. */
const char *lab_target(const struct l7_hit *hit);
