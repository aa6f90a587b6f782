/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/fault.h"

#include <stdarg.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"

enum { DETAIL_BYTES = 1024 };

static const struct {
    const char *reason;
    const char *words;
} kinds[] = {
    [FAULT_REQUIRED] = {"FieldValueRequired", "Required value"},
    [FAULT_INVALID] = {"FieldValueInvalid", "Invalid value"},
    [FAULT_UNSUPPORTED] = {"FieldValueNotSupported", "Unsupported value"},
    [FAULT_FORBIDDEN] = {"FieldValueForbidden", "Forbidden"},
    [FAULT_DUPLICATE] = {"FieldValueDuplicate", "Duplicate value"},
    [FAULT_TOO_LONG] = {"FieldValueTooLong", "Too long"},
    [FAULT_TYPE] = {"FieldValueTypeInvalid", "Invalid value"},
};

void faults_fini(struct faults *f)
{
    for (size_t i = 0; i < f->count; i++) {
        mem_free(f->at[i].field);
        mem_free(f->at[i].message);
    }
    f->count = 0;
}

void faults_add(struct faults *f, enum fault_kind kind, const char *field, const char *detail)
{
    struct strbuf message = {.limit = DETAIL_BYTES};

    if (f->count == FAULTS_MAX) {
        f->dropped++;
        return;
    }
    strbuf_puts(&message, kinds[kind].words);
    if (detail) {
        strbuf_puts(&message, ": ");
        strbuf_puts(&message, detail);
    }
    f->at[f->count++] =
        (struct fault){.kind = kind, .field = mem_strdup(field), .message = strbuf_take(&message)};
}

void faults_addf(struct faults *f, enum fault_kind kind, const char *field, const char *fmt, ...)
{
    struct strbuf detail = {.limit = DETAIL_BYTES};
    va_list ap;

    va_start(ap, fmt);
    strbuf_vprintf(&detail, fmt, ap);
    va_end(ap);
    faults_add(f, kind, field, strbuf_text(&detail));
    strbuf_fini(&detail);
}

const char *fault_reason(enum fault_kind kind)
{
    return kinds[kind].reason;
}
