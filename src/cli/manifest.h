/* SPDX-License-Identifier: Apache-2.0 */
/* Objects out of files of YAML or JSON, several documents and lists included. */
#pragma once

#include "base/err.h"

struct json;
struct args;

/* Appends {"from": "file.yaml:12", "object": ...} for each object in text; name stands in "from". Pure. */
MUST_USE int manifest_read(const char *text, size_t len, const char *name, struct json *into,
                           struct diag *why);
/* The same for all that -f names: "-" is standard input; a folder means its *.yaml, *.yml and *.json
 * in order. No object in it is -ERR_SYNTAX. */
MUST_USE int manifest_load_all_blocking(const struct args *a, struct json *into, struct diag *why);
