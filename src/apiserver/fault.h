/* SPDX-License-Identifier: Apache-2.0 */
/* What is wrong with an object, field by field: the causes of an "Invalid" answer. Bounded: what
 * comes after FAULTS_MAX is counted, not kept. */
#pragma once

#include <stddef.h>

#include "base/auto.h"

enum fault_kind {
    FAULT_REQUIRED,
    FAULT_INVALID,
    FAULT_UNSUPPORTED,
    FAULT_FORBIDDEN,
    FAULT_DUPLICATE,
    FAULT_TOO_LONG,
    FAULT_TYPE,
};

enum { FAULTS_MAX = 32 };

struct fault {
    enum fault_kind kind;
    char *field;
    char *message; /* as clients show it: "Invalid value: ..." */
};

struct faults {
    struct fault at[FAULTS_MAX];
    size_t count;
    size_t dropped;
};

void faults_fini(struct faults *f);
/* The message begins with the kind's own words ("Required value"); detail NULL = these alone. */
void faults_add(struct faults *f, enum fault_kind kind, const char *field, const char *detail);
void faults_addf(struct faults *f, enum fault_kind kind, const char *field, const char *fmt, ...)
    PRINTF_LIKE(4, 5);
/* The word for clients: "FieldValueInvalid". */
const char *fault_reason(enum fault_kind kind);
