/* SPDX-License-Identifier: Apache-2.0 */
/* Answers as tables, for `kubectl get`. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct json;
struct kind;
struct object;

/* An empty Table; with_columns false: columnDefinitions is null, as in later events of a watch. */
struct json *table_new(const struct kind *kind, bool with_columns);
/* Appends a row. include is the includeObject parameter: "" or Metadata, Object, None. */
void table_add(struct json *table, const struct object *o, const char *version, const char *include,
               int64_t now_s);
void table_set_version(struct json *table, uint64_t rv);
