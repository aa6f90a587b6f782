/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Settings from environment variables, by a table: name, kind, where the value goes, the default in
 * the variable's own syntax. An unusable value is an error that names its variable.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

enum env_kind {
    ENV_TEXT,     /* char *, the settings' own */
    ENV_OPTIONAL, /* char *; NULL where the variable is not set */
    ENV_BOOL,     /* bool: "true" or "false" */
    ENV_U32,      /* uint32_t */
    ENV_U16,      /* uint32_t that is at most 65535 */
    ENV_U31,      /* uint32_t that is at most 2147483647, as are windows (RFC 9113 6.9.1) */
    ENV_DURATION, /* uint64_t, milliseconds: "5s" */
};

struct env_row {
    const char *name;
    enum env_kind kind;
    size_t offset;
    const char *otherwise;
};

/* NULL: not set. Borrowed from env, which is the process' environment. */
const char *env_get(char *const *env, const char *name);
MUST_USE int env_parse_bool(const char *text, bool *out);
/* Into the struct at `into`, which was zeroed. After a failure env_rows_fini is due all the same. */
MUST_USE int env_rows_read(void *into, const struct env_row *rows, size_t count, char *const *env,
                           struct diag *why);
/* Frees the texts. */
void env_rows_fini(void *into, const struct env_row *rows, size_t count);
