/* SPDX-License-Identifier: Apache-2.0 */
/* Which known word did somebody mean? Pure. */
#pragma once

#include <stddef.h>

enum { NEAR_WORD_MAX = 64 };

/* Letters to add, drop, change or swap to get from a to b (only the first NEAR_WORD_MAX count). */
unsigned near_distance(const char *a, const char *b);
/* The better of best (may be NULL) and candidate as a guess for word; NULL while neither is close. */
const char *near_best(const char *word, const char *best, const char *candidate);
