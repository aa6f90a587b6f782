/* SPDX-License-Identifier: Apache-2.0 */
/* One match against one request; the query is taken apart once, and only if somebody asks. */
#pragma once

#include "model/l7_request.h"
#include "model/l7_route.h"

enum { L7_QUERY_MAX = 64, L7_QUERY_TEXT_MAX = 4096 };

struct l7_param {
    struct slice name;
    struct slice value;
};

struct l7_query { /* big: only where a query is asked about */
    bool read;
    bool bad; /* too many parameters, or too much to decode: no query match holds */
    size_t count;
    size_t text_len;
    struct l7_param params[L7_QUERY_MAX];
    char text[L7_QUERY_TEXT_MAX]; /* what had to be decoded */
};

struct l7_try {
    const struct l7_request *q;
    struct l7_query *query; /* zeroed; may be NULL where no match asks for it */
    unsigned unknown;
};

bool l7_try_path(struct l7_try *t, const struct l7_path_match *m);
/* All but the path. */
bool l7_try_rest(struct l7_try *t, const struct l7_match *m);
