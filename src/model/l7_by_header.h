/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Entries of a route table that no path tells apart, by the values of headers they ask for exactly: a
 * thousand rules for `x-tenant: N` are one look-up. Answers what trying them one after the other
 * would. Immutable.
 */
#pragma once

#include <stddef.h>
#include <sys/types.h>

#include "model/l7_match_int.h"
#include "model/l7_table.h"

struct l7_by_header;

/* Of entries in order of precedence, borrowed. NULL: no header tells enough of them apart. */
struct l7_by_header *l7_by_header_new(const struct l7_entry *at, size_t count);
void l7_by_header_free(struct l7_by_header *x);
/* The first that holds, or -1. Paths are tried only where they are expressions. */
ssize_t l7_by_header_find(const struct l7_by_header *x, struct l7_try *t);
