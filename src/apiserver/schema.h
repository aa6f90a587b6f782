/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an object may look like, read from a short text (kinds.c holds one a kind):
 *
 *     spec:{type:(ClusterIP|NodePort)=ClusterIP selector:<string>~ ports:[{port!:int}]@port}
 *
 *     string int bool number intstr any    a value; int(1..65535) bounds it
 *     (A|B)                                one of these strings
 *     {name:type ...}                      named fields; name alone is a string, name! is required
 *     <type>                               any keys, each with such a value
 *     [type]                               a list; @a+b: keyed by these fields; @*: a set
 *     type=value                           the value of an absent field (strings and integers)
 *     {...}+                               an absent field is made, so that its defaults apply
 *     type~                                owned as a whole (server-side apply)
 *
 * Pure. It drives the check for unknown fields, types, defaults, the keys of strategic merge and the
 * field sets of server-side apply.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum schema_type {
    SCHEMA_ANY,
    SCHEMA_STRING,
    SCHEMA_INT,
    SCHEMA_BOOL,
    SCHEMA_NUMBER,
    SCHEMA_INT_OR_STRING,
    SCHEMA_STRUCT,
    SCHEMA_MAP,
    SCHEMA_LIST,
};

enum { SCHEMA_KEYS = 4 };

struct schema {
    enum schema_type type;
    char *name; /* of a field; NULL elsewhere */
    bool required;
    bool atomic;
    bool make;
    bool is_set;
    char *standard;              /* default as text; NULL = none */
    char **choices;              /* strings only, NULL-terminated; NULL = any */
    char *keys[SCHEMA_KEYS + 1]; /* of a keyed list; NULL-terminated */
    bool bounded;
    int64_t least;
    int64_t most;
    struct schema **fields; /* of a struct */
    size_t field_count;
    struct schema *items; /* of a list or map */
};

/* The fields of one struct, without its braces. -ERR_SYNTAX names the place. */
MUST_USE int schema_parse(const char *text, struct diag *why, struct schema **out);
void schema_free(struct schema *s);
/* NULL: no such field, or s is no struct. */
const struct schema *schema_field(const struct schema *s, const char *name);
/* The schema of one element: of a struct by name, of a map or list its items. s NULL or any: NULL. */
const struct schema *schema_child(const struct schema *s, const char *name);

AUTO_DEFINE(schema, struct schema *, schema_free);
