/* SPDX-License-Identifier: Apache-2.0 */
/*
 * YAML to JSON values, document by document, the way kubectl reads manifests: the scalars of YAML
 * 1.1 as its library knows them ("yes", "no", "on", "off", "y", "n" are booleans, 0644 is octal),
 * merge keys applied, the last of equal keys wins, dates stay strings. Aliases are expanded within
 * a budget, so that a small bomb stays small.
 */
#pragma once

#include <stddef.h>

#include "base/err.h"
#include "codec/json.h"

struct yaml_reader;

enum {
    YAML_BYTES_MAX = 16 << 20,
    YAML_DEPTH_MAX = 64,
    YAML_BUDGET =
        1 << 20, /* values of one document, aliases expanded; 64 bytes of text count as one */
    YAML_ANCHORS_MAX = 4096
};

/* text must outlive it. -ERR_TOO_LARGE. */
MUST_USE int yaml_reader_new(struct yaml_reader **out, const char *text, size_t len,
                             struct diag *why);
void yaml_reader_free(struct yaml_reader *y);
AUTO_DEFINE(yaml_reader, struct yaml_reader *, yaml_reader_free);

/* 1: out is the next document, the caller's (an empty one is null); 0: the end. -ERR_SYNTAX with
 * line and column, -ERR_TOO_LARGE; both are final. */
MUST_USE int yaml_reader_next(struct yaml_reader *y, struct json **out, struct diag *why);
/* The line (from 1) on which the document last returned begins. */
size_t yaml_reader_line(const struct yaml_reader *y);
/* The first key in it that a mapping has twice, borrowed until the next call, and the line of its second
 * place; NULL: none. */
const char *yaml_reader_twice(const struct yaml_reader *y, size_t *out_line);

/* All documents that are not null, as an array. */
MUST_USE int yaml_parse_all(struct json **out, const char *text, size_t len, struct diag *why);
