/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON values: parsed within limits, read by key or path, built, merged, printed. A value is
 * counted (any thread may drop a reference; a tree that two threads see must no longer change).
 * Getters accept NULL and values of another kind and then answer "absent", so that lookups chain
 * without checks.
 *
 * A path is keys joined by dots ("metadata.name"), for fields whose names the program knows; keys
 * that come from users (labels, annotations) hold dots themselves and go through json_get.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"

struct json;

enum json_kind {
    JSON_KIND_NULL = 0, /* also what an absent value is */
    JSON_KIND_BOOL,
    JSON_KIND_INT, /* 64 bits, signed */
    JSON_KIND_REAL,
    JSON_KIND_STRING,
    JSON_KIND_ARRAY,
    JSON_KIND_OBJECT
};

struct json_limits {
    size_t bytes;   /* 0 = JSON_BYTES_MAX */
    unsigned depth; /* 0 = JSON_DEPTH_MAX */
};
enum { JSON_BYTES_MAX = 16 << 20, JSON_DEPTH_MAX = 64 };

/* Any value may stand at the top. Of equal keys the last wins. limits may be NULL. The caller's on
 * success; -ERR_SYNTAX (why names line and column), -ERR_TOO_LARGE. */
MUST_USE int json_parse(struct json **out, const char *text, size_t len,
                        const struct json_limits *limits, struct diag *why);

struct json *json_ref(const struct json *j);   /* NULL stays NULL */
struct json *json_unref(const struct json *j); /* returns NULL */
AUTO_DEFINE(json, struct json *, json_unref);

/* ---- reading; what is returned is borrowed from the tree, NULL where absent */

enum json_kind json_kind(const struct json *j);
static inline bool json_is_obj(const struct json *j)
{
    return json_kind(j) == JSON_KIND_OBJECT;
}
static inline bool json_is_arr(const struct json *j)
{
    return json_kind(j) == JSON_KIND_ARRAY;
}

struct json *json_get(const struct json *object, const char *key);
struct json *json_at(const struct json *j, const char *path);
/* Members of an object or items of an array; 0 otherwise. */
size_t json_count(const struct json *j);
/* Whether this array holds the text. */
bool json_has_str(const struct json *array, const char *text);
struct json *json_item(const struct json *array, size_t i);

/* The value itself, or the fallback where it is of another kind. An integral real counts as an
 * int. */
const char *json_str(const struct json *j, const char *fallback);
int64_t json_int(const struct json *j, int64_t fallback);
double json_num(const struct json *j, double fallback); /* an int too */
bool json_bool(const struct json *j, bool fallback);

const char *json_str_at(const struct json *j, const char *path, const char *fallback);
int64_t json_int_at(const struct json *j, const char *path, int64_t fallback);
bool json_bool_at(const struct json *j, const char *path, bool fallback);
/* NULL unless it is of that kind. */
struct json *json_object_at(const struct json *j, const char *path);
struct json *json_array_at(const struct json *j, const char *path);

/* Members in the order they were added:
 *     for (struct json_iter it = {0}; json_each(object, &it);) use(it.key, it.value);
 * The value may be changed, members may not come or go. */
struct json_iter {
    const char *key;
    struct json *value;
    void *at; /* private */
};
bool json_each(const struct json *object, struct json_iter *it);

/* Levels of nesting, 1 where nothing is nested. Each value takes one from *budget; 0: it did not suffice. */
unsigned json_depth(const struct json *j, size_t *budget);

/* Equal as JSON: members in any order; 1 and 1.0 differ. NULL equals NULL. */
bool json_same(const struct json *a, const struct json *b);

/* ---- building; a tree has one owner while it is being built */

struct json *json_new_object(void);
struct json *json_new_array(void);
/* Bytes that are not UTF-8 become U+FFFD; NUL bytes too. */
struct json *json_new_str(const char *s);
struct json *json_new_strn(const char *s, size_t len);
struct json *json_new_int(int64_t v);
struct json *json_new_real(double v); /* NaN and infinities become null */
struct json *json_new_bool(bool v);
struct json *json_new_null(void);
struct json *json_clone(const struct json *j); /* deep; NULL stays NULL */

/* Each replaces what was there and takes the value; a NULL value is null. */
void json_set(struct json *object, const char *key, struct json *take_value);
void json_set_str(struct json *object, const char *key, const char *s);
void json_set_int(struct json *object, const char *key, int64_t v);
void json_set_bool(struct json *object, const char *key, bool v);
/* False: there was none. */
bool json_remove(struct json *object, const char *key);
void json_clear(struct json *j); /* of an object or array: empty afterwards */
void json_append(struct json *array, struct json *take_value);
void json_append_str(struct json *array, const char *s);
void json_insert(struct json *array, size_t i, struct json *take_value); /* i <= count */
void json_replace(struct json *array, size_t i, struct json *take_value);
bool json_remove_item(struct json *array, size_t i);
/* Walks path, making objects where there is none (or something else). */
struct json *json_make_object(struct json *object, const char *path);
struct json *json_make_array(struct json *object, const char *path);

/* RFC 7396. Takes target, which may be NULL; the result is the caller's. Null members that the
 * patch brings into new objects are dropped too. */
struct json *json_merge_patch(struct json *take_target, const struct json *patch);

/* ---- printing */

enum json_print { JSON_PRINT_SORTED = 1u << 0, JSON_PRINT_INDENT = 1u << 1 };

/* Appends. Text ends where out's limit is reached (out->overflow). */
void json_print(const struct json *j, unsigned flags, struct strbuf *out);
