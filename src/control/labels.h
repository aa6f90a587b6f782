/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sets of labels and the selectors over them. Keys and values are interned in one pool, so comparing
 * two labels is comparing pointers. The control loop only.
 */
#pragma once

#include <stdbool.h>

#include "codec/json.h"
#include "model/intern.h"

struct label {
    const char *key; /* interned, one reference each */
    const char *value;
};

struct labels {
    struct label *at;
    unsigned count;
};

enum { LABELS_MAX = 1024 }; /* of one object; further ones are not looked at */

/* Reads a JSON object of texts; what is no text is left out. out is the caller's to fini. */
void labels_read(struct labels *out, const struct json *object, struct intern *pool);
void labels_fini(struct labels *l);
/* NULL: no such label. key may be any text. */
const char *labels_get(const struct labels *l, const char *key);
/* Every label of selector is in l; an empty selector is satisfied by all. One pool for both. */
bool labels_match(const struct labels *selector, const struct labels *l);
bool labels_equal(const struct labels *a, const struct labels *b);
