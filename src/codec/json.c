/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A thin skin over the library: it adds limits, places in errors, paths and a merge patch, and
 * takes away what could fail later (text that is not UTF-8, numbers that are not finite).
 */
#include "codec/json.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/num.h"
#include "codec/utf8.h"

/* A struct json is the library's value: these two are the only crossings. The library counts with
 * atomics and takes mutable pointers for reading. */
static json_t *raw(const struct json *j)
{
    return (json_t *)(uintptr_t)j;
}

static struct json *wrap(json_t *v)
{
    return (struct json *)v;
}

/* What the library refuses here is only memory, for values that are small and ours. */
static void must(bool ok)
{
    if (!ok) {
        (void)fputs("out of memory in json\n", stderr);
        abort();
    }
}

static struct json *made(json_t *v)
{
    must(v != NULL);
    return wrap(v);
}

/* Counted without parsing: what is in strings does not nest. */
static bool is_deeper_than(const char *text, size_t len, unsigned limit)
{
    unsigned depth = 0;
    bool in_string = false;

    for (size_t i = 0; i < len && depth <= limit; i++) {
        char c = text[i];
        if (in_string) {
            i += c == '\\';
            in_string = c != '"';
        } else if (c == '"') {
            in_string = true;
        } else if (c == '[' || c == '{') {
            depth++;
        } else if ((c == ']' || c == '}') && depth > 0) {
            depth--;
        }
    }
    return depth > limit;
}

int json_parse(struct json **out, const char *text, size_t len, const struct json_limits *limits,
               struct diag *why)
{
    size_t most = limits && limits->bytes > 0 ? limits->bytes : JSON_BYTES_MAX;
    unsigned depth = limits && limits->depth > 0 ? limits->depth : JSON_DEPTH_MAX;
    json_error_t e;
    json_t *v;

    if (len > most) {
        return FAIL(why, -ERR_TOO_LARGE, "JSON of %zu bytes, at most %zu", len, most);
    }
    if (is_deeper_than(text, len, depth)) {
        return FAIL(why, -ERR_TOO_LARGE, "JSON nested deeper than %u", depth);
    }
    v = json_loadb(text ? text : "", len, JSON_DECODE_ANY, &e);
    if (!v) {
        return FAIL(why, -ERR_SYNTAX, "JSON line %d column %d: %s", e.line, e.column, e.text);
    }
    *out = wrap(v);
    return 0;
}

struct json *json_ref(const struct json *j)
{
    return wrap(json_incref(raw(j)));
}

struct json *json_unref(const struct json *j)
{
    json_decref(raw(j));
    return NULL;
}

/* ---- reading */

enum json_kind json_kind(const struct json *j)
{
    static const enum json_kind kinds[] = {
        [JSON_OBJECT] = JSON_KIND_OBJECT, [JSON_ARRAY] = JSON_KIND_ARRAY,
        [JSON_STRING] = JSON_KIND_STRING, [JSON_INTEGER] = JSON_KIND_INT,
        [JSON_REAL] = JSON_KIND_REAL,     [JSON_TRUE] = JSON_KIND_BOOL,
        [JSON_FALSE] = JSON_KIND_BOOL,    [JSON_NULL] = JSON_KIND_NULL,
    };
    return j ? kinds[json_typeof(raw(j))] : JSON_KIND_NULL;
}

struct json *json_get(const struct json *object, const char *key)
{
    return wrap(json_object_get(raw(object), key));
}

/* One key of a path; the rest of it, or NULL after the last key. */
static const char *path_key(const char *path, size_t *len)
{
    const char *dot = strchr(path, '.');

    *len = dot ? (size_t)(dot - path) : strlen(path);
    return dot ? dot + 1 : NULL;
}

struct json *json_at(const struct json *j, const char *path)
{
    json_t *v = raw(j);
    size_t len;

    while (v && path) {
        const char *rest = path_key(path, &len);
        v = json_object_getn(v, path, len);
        path = rest;
    }
    return wrap(v);
}

size_t json_count(const struct json *j)
{
    return json_is_arr(j) ? json_array_size(raw(j)) : json_object_size(raw(j));
}

bool json_has_str(const struct json *array, const char *text)
{
    for (size_t i = 0; i < json_count(array); i++) {
        if (strcmp(json_str(json_item(array, i), ""), text) == 0) {
            return true;
        }
    }
    return false;
}

struct json *json_item(const struct json *array, size_t i)
{
    return wrap(json_array_get(raw(array), i));
}

const char *json_str(const struct json *j, const char *fallback)
{
    const char *s = json_string_value(raw(j));

    return s ? s : fallback;
}

int64_t json_int(const struct json *j, int64_t fallback)
{
    enum json_kind kind = json_kind(j);

    if (kind == JSON_KIND_INT) {
        return json_integer_value(raw(j));
    }
    if (kind == JSON_KIND_REAL) {
        double v = json_real_value(raw(j));
        return trunc(v) == v && fabs(v) < 9e15 ? (int64_t)v : fallback;
    }
    return fallback;
}

double json_num(const struct json *j, double fallback)
{
    enum json_kind kind = json_kind(j);

    if (kind == JSON_KIND_INT || kind == JSON_KIND_REAL) {
        return json_number_value(raw(j));
    }
    return fallback;
}

bool json_bool(const struct json *j, bool fallback)
{
    return json_kind(j) == JSON_KIND_BOOL ? json_is_true(raw(j)) : fallback;
}

const char *json_str_at(const struct json *j, const char *path, const char *fallback)
{
    return json_str(json_at(j, path), fallback);
}

int64_t json_int_at(const struct json *j, const char *path, int64_t fallback)
{
    return json_int(json_at(j, path), fallback);
}

bool json_bool_at(const struct json *j, const char *path, bool fallback)
{
    return json_bool(json_at(j, path), fallback);
}

static struct json *if_kind(struct json *j, enum json_kind kind)
{
    return json_kind(j) == kind ? j : NULL;
}

struct json *json_object_at(const struct json *j, const char *path)
{
    return if_kind(json_at(j, path), JSON_KIND_OBJECT);
}

struct json *json_array_at(const struct json *j, const char *path)
{
    return if_kind(json_at(j, path), JSON_KIND_ARRAY);
}

bool json_each(const struct json *object, struct json_iter *it)
{
    it->at = it->at ? json_object_iter_next(raw(object), it->at) : json_object_iter(raw(object));
    if (!it->at) {
        return false;
    }
    it->key = json_object_iter_key(it->at);
    it->value = wrap(json_object_iter_value(it->at));
    return true;
}

unsigned json_depth(const struct json *j, size_t *budget)
{
    unsigned deepest = 0;

    if (*budget == 0) {
        return 0;
    }
    *budget -= 1;
    for (struct json_iter it = {0}; json_is_obj(j) && json_each(j, &it);) {
        unsigned below = json_depth(it.value, budget);
        deepest = MAX_OF(deepest, below);
    }
    for (size_t i = 0; json_is_arr(j) && i < json_count(j); i++) {
        unsigned below = json_depth(json_item(j, i), budget);
        deepest = MAX_OF(deepest, below);
    }
    return *budget > 0 ? deepest + 1 : 0;
}

bool json_same(const struct json *a, const struct json *b)
{
    return a == b || json_equal(raw(a), raw(b));
}

/* ---- building */

struct json *json_new_object(void)
{
    return made(json_object());
}

struct json *json_new_array(void)
{
    return made(json_array());
}

/* What the library stores must be UTF-8 without NUL, or it could not be printed again. */
static void add_clean(struct strbuf *b, const char *s, size_t len)
{
    while (len > 0) {
        size_t n = *s != '\0' ? utf8_char_len(s, len) : 0;
        if (n > 0) {
            strbuf_add(b, s, n);
        } else {
            strbuf_puts(b, "\xef\xbf\xbd");
            n = 1;
        }
        s += n;
        len -= n;
    }
}

static bool is_clean(const char *s, size_t len)
{
    return !memchr(s, '\0', len) && utf8_is_valid(s, len);
}

struct json *json_new_strn(const char *s, size_t len)
{
    AUTO(strbuf) struct strbuf b = {.limit = SIZE_MAX};

    if (len == 0 || is_clean(s, len)) {
        return made(json_stringn_nocheck(len > 0 ? s : "", len));
    }
    add_clean(&b, s, len);
    return made(json_stringn_nocheck(b.p, b.len));
}

struct json *json_new_str(const char *s)
{
    return json_new_strn(s, s ? strlen(s) : 0);
}

struct json *json_new_int(int64_t v)
{
    return made(json_integer(v));
}

struct json *json_new_real(double v)
{
    return isfinite(v) ? made(json_real(v)) : json_new_null();
}

struct json *json_new_bool(bool v)
{
    return made(json_boolean(v));
}

struct json *json_new_null(void)
{
    return made(json_null());
}

struct json *json_clone(const struct json *j)
{
    return j ? made(json_deep_copy(raw(j))) : NULL;
}

static json_t *or_null(struct json *v)
{
    return v ? raw(v) : json_null();
}

static void set_n(json_t *object, const char *key, size_t len, struct json *take_value)
{
    AUTO(strbuf) struct strbuf b = {.limit = SIZE_MAX};

    if (!is_clean(key, len)) {
        add_clean(&b, key, len);
        key = b.p;
        len = b.len;
    }
    must(json_object_setn_new_nocheck(object, key, len, or_null(take_value)) == 0);
}

void json_set(struct json *object, const char *key, struct json *take_value)
{
    set_n(raw(object), key, strlen(key), take_value);
}

void json_set_str(struct json *object, const char *key, const char *s)
{
    json_set(object, key, json_new_str(s));
}

void json_set_int(struct json *object, const char *key, int64_t v)
{
    json_set(object, key, json_new_int(v));
}

void json_set_bool(struct json *object, const char *key, bool v)
{
    json_set(object, key, json_new_bool(v));
}

bool json_remove(struct json *object, const char *key)
{
    return json_object_del(raw(object), key) == 0;
}

void json_clear(struct json *j)
{
    if (json_is_arr(j)) {
        (void)json_array_clear(raw(j)); /* fails for other kinds only */
    } else {
        (void)json_object_clear(raw(j)); /* the same */
    }
}

void json_append(struct json *array, struct json *take_value)
{
    must(json_array_append_new(raw(array), or_null(take_value)) == 0);
}

void json_append_str(struct json *array, const char *s)
{
    json_append(array, json_new_str(s));
}

void json_insert(struct json *array, size_t i, struct json *take_value)
{
    must(json_array_insert_new(raw(array), i, or_null(take_value)) == 0);
}

void json_replace(struct json *array, size_t i, struct json *take_value)
{
    must(json_array_set_new(raw(array), i, or_null(take_value)) == 0);
}

bool json_remove_item(struct json *array, size_t i)
{
    return json_array_remove(raw(array), i) == 0;
}

/* The container that object[key] is or becomes. */
static json_t *make_child(json_t *object, const char *key, size_t len, enum json_kind kind)
{
    struct json *v = wrap(json_object_getn(object, key, len));

    if (json_kind(v) != kind) {
        v = kind == JSON_KIND_ARRAY ? json_new_array() : json_new_object();
        set_n(object, key, len, v);
    }
    return raw(v);
}

static struct json *make_at(struct json *object, const char *path, enum json_kind kind)
{
    json_t *v = raw(object);
    size_t len;

    while (path) {
        const char *rest = path_key(path, &len);
        v = make_child(v, path, len, rest ? JSON_KIND_OBJECT : kind);
        path = rest;
    }
    return wrap(v);
}

struct json *json_make_object(struct json *object, const char *path)
{
    return make_at(object, path, JSON_KIND_OBJECT);
}

struct json *json_make_array(struct json *object, const char *path)
{
    return make_at(object, path, JSON_KIND_ARRAY);
}

struct json *json_merge_patch(struct json *take_target, const struct json *patch)
{
    AUTO(json) struct json *target = take_target;

    if (!json_is_obj(patch)) {
        return patch ? json_clone(patch) : json_new_null();
    }
    if (!json_is_obj(target)) {
        json_unref(target);
        target = json_new_object();
    }
    for (struct json_iter it = {0}; json_each(patch, &it);) {
        if (json_kind(it.value) == JSON_KIND_NULL) {
            (void)json_remove(target, it.key); /* it need not have been there */
        } else {
            struct json *old = json_ref(json_get(target, it.key));
            json_set(target, it.key, json_merge_patch(old, it.value));
        }
    }
    return MOVE(target);
}

/* ---- printing */

static int on_text(const char *text, size_t len, void *arg)
{
    struct strbuf *out = arg;

    strbuf_add(out, text, len);
    return out->overflow ? -1 : 0;
}

void json_print(const struct json *j, unsigned flags, struct strbuf *out)
{
    size_t how = JSON_ENCODE_ANY;

    how |= flags & JSON_PRINT_SORTED ? JSON_SORT_KEYS : 0;
    how |= flags & JSON_PRINT_INDENT ? JSON_INDENT(2) : JSON_COMPACT;
    if (!j) {
        strbuf_puts(out, "null");
        return;
    }
    /* The values are clean and finite: only on_text ends this early. */
    (void)json_dump_callback(raw(j), on_text, out, how);
}
