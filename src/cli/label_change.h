/* SPDX-License-Identifier: Apache-2.0 */
/* "key=value" and "key-", as changes of an object's labels. Pure. */
#pragma once

#include <stdbool.h>

#include "base/err.h"
#include "base/str.h"

struct json;

/* A merge patch of the labels: values, and null for what goes. -ERR_SYNTAX. The caller's. */
MUST_USE int label_change_read(char *const *words, unsigned count, struct json **out,
                               struct diag *why);
/* A value that means nothing to the mesh under a key that it reads: -ERR_SYNTAX, and in *out_key that key, in
 * *out_value what was meant (NULL: no telling). Both are borrowed for ever. */
MUST_USE int label_change_check(const struct json *patch, const char **out_key,
                                const char **out_value, struct diag *why);
/* A label that is there with another value; NULL if none. Borrowed from patch. */
const char *label_change_conflict(const struct json *labels, const struct json *patch);
/* Sentences about keys that it sets and that mean nothing to the mesh, though they look like it; a line each. */
void label_change_hints(const struct json *patch, struct strbuf *out);
/* Would it change anything? */
bool label_change_is_needed(const struct json *labels, const struct json *patch);
