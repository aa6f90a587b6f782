/* SPDX-License-Identifier: Apache-2.0 */
/* Objects out of files of YAML or JSON, several documents and lists included. */
#pragma once

#include "base/err.h"

struct json;
struct args;

/* An array of {"from": "file.yaml:12", "object": ...}, the caller's. path "-" is standard input; a
 * folder means its *.yaml, *.yml and *.json in order. Blocks. */
MUST_USE int manifest_load_blocking(const char *path, struct json *into, struct diag *why);
/* The same out of text; name stands in "from". Pure. */
MUST_USE int manifest_read(const char *text, size_t len, const char *name, struct json *into,
                           struct diag *why);
/* What -f names, all of it; none in it is -ERR_SYNTAX. */
MUST_USE int manifest_load_all_blocking(const struct args *a, struct json *into, struct diag *why);
