/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Regular expressions of routes. The language is RE2's: what needs backtracking without bound
 * (back-references, look-around, atomic and possessive forms, recursion) is refused when it is
 * compiled. Matching is of the whole subject, within limits; a subject that reaches one has no
 * answer. Immutable, counted; any thread may match.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "base/str.h"

struct l7_regex;

enum {
    L7_REGEX_PATTERN_MAX = 1024,
    L7_REGEX_SUBJECT_MAX = 8192,
    L7_REGEX_STEPS_MAX = 10000, /* of one match */
};

/* The caller's on success. -ERR_SYNTAX: why says what and at which byte; -ERR_TOO_LARGE. */
MUST_USE int l7_regex_new(const struct l7_regex **out, const char *pattern, struct diag *why);
const struct l7_regex *l7_regex_unref(const struct l7_regex *x); /* returns NULL */
AUTO_DEFINE(l7_regex, const struct l7_regex *, l7_regex_unref);

/* 1: all of the subject matches; 0: it does not; -ERR_LIMIT: nobody knows. */
MUST_USE int l7_regex_match(const struct l7_regex *x, struct slice subject);
