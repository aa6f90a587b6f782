/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rules of one service port, all their matches in the standard's order of precedence: exact
 * path, longest prefix, regular expression, method, more headers, more query parameters, older
 * route, namespace/name, rule, match. Few are tried one after the other; many are indexed by path, and
 * many of one path by what headers have to be exactly; the answer is the same.
 * Immutable once made.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "model/l7_request.h"
#include "model/l7_route.h"

struct l7_table;

struct l7_entry {
    const struct l7_route *route;
    const struct l7_match *match;
};

/* What a request met. Zeroed: nothing, which is 404. Borrowed from the table. */
struct l7_hit {
    const struct l7_route *route;
    const struct l7_match *match;
    unsigned unknown; /* expressions that reached a limit and were taken not to match */
};

/* One reference for the caller; the table keeps one to each route. */
const struct l7_table *l7_table_new(const struct l7_route *const *routes, size_t count);
const struct l7_table *l7_table_ref(const struct l7_table *t);
const struct l7_table *l7_table_unref(const struct l7_table *t); /* returns NULL */
AUTO_DEFINE(l7_table, const struct l7_table *, l7_table_unref);

struct l7_hit l7_table_find(const struct l7_table *t, const struct l7_request *q);
/* In order of precedence, for print-outs. NULL past the end. */
const struct l7_entry *l7_table_entry(const struct l7_table *t, size_t i);
size_t l7_table_count(const struct l7_table *t);
/* One match alone. */
bool l7_match_holds(const struct l7_match *m, const struct l7_request *q, unsigned *unknown);
