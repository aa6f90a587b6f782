/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Holds an object against its schema: fields the schema does not know, values of the wrong type,
 * required fields, defaults. Pure. Unknown fields and nulls are taken out, as a typed server does by
 * decoding.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "apiserver/fault.h"
#include "base/str.h"

struct json;
struct schema;

enum { UNKNOWN_MAX = 32 };

struct unknown_fields { /* as clients print them: spec.ports[0].portt */
    char *at[UNKNOWN_MAX];
    size_t count;
};
void unknown_fields_fini(struct unknown_fields *u);

enum check_mode {
    CHECK_WHOLE,  /* an object to be stored: required fields and defaults too */
    CHECK_PARTIAL /* what somebody applies: nothing is required, nothing is filled in */
};

/* The value of a field that is absent and has a standard one. The caller's. */
struct json *check_standard(const struct schema *s);

/* Changes o. unknown may be NULL. Values of the wrong type are faults of FAULT_TYPE. */
void check_object(const struct schema *s, struct json *o, enum check_mode mode,
                  struct unknown_fields *unknown, struct faults *faults);
