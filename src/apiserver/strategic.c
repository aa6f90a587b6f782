/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/strategic.h"

#include <stdbool.h>
#include <string.h>

#include "apiserver/schema.h"
#include "base/mem.h"
#include "base/str.h"
#include "codec/json.h"

static int merge_object(const struct schema *s, struct json *into, const struct json *patch,
                        struct diag *why);

/* Merging compares every item with every other. */
enum { MERGED_ITEMS = 1024 };

static const char order_prefix[] = "$setElementOrder/";
static const char delete_prefix[] = "$deleteFromPrimitiveList/";

static bool has_directive(const struct json *item, const char *value)
{
    return strcmp(json_str(json_get(item, "$patch"), ""), value) == 0;
}

static const struct json *directive(const struct json *patch, const char *prefix, const char *field)
{
    AUTO(strbuf) struct strbuf name = {0};

    strbuf_puts(&name, prefix);
    strbuf_puts(&name, field);
    return json_get(patch, strbuf_text(&name));
}

static int check_length(const struct json *list, const struct json *value, const char *field,
                        struct diag *why)
{
    return json_count(list) <= MERGED_ITEMS && json_count(value) <= MERGED_ITEMS
               ? 0
               : FAIL(why, -ERR_LIMIT, "%.100s: lists of more than %d items are not merged", field,
                      MERGED_ITEMS);
}

/* A value that is new: what the patch says, without its directives. */
static int fresh(const struct schema *s, const struct json *patch, struct diag *why,
                 struct json **out)
{
    if (!json_is_obj(patch)) {
        *out = json_clone(patch);
        return 0;
    }
    AUTO(json) struct json *made = json_new_object();
    int r = merge_object(s, made, patch, why);
    if (r == 0) {
        *out = MOVE(made);
    }
    return r;
}

/* ---- lists of values */

static ptrdiff_t find_value(const struct json *list, const struct json *value)
{
    for (size_t i = 0; i < json_count(list); i++) {
        if (json_same(json_item(list, i), value)) {
            return (ptrdiff_t)i;
        }
    }
    return -1;
}

static void merge_set(struct json *into, const struct json *add)
{
    for (size_t i = 0; i < json_count(add); i++) {
        if (find_value(into, json_item(add, i)) < 0) {
            json_append(into, json_clone(json_item(add, i)));
        }
    }
}

static void remove_values(struct json *from, const struct json *gone)
{
    for (size_t i = 0; i < json_count(gone); i++) {
        ptrdiff_t at = find_value(from, json_item(gone, i));
        if (at >= 0) {
            (void)json_remove_item(from, (size_t)at); /* it was found there */
        }
    }
}

/* ---- lists of objects with a key */

static ptrdiff_t find_keyed(const struct json *list, const char *key, const struct json *value)
{
    for (size_t i = 0; i < json_count(list); i++) {
        const struct json *k = json_get(json_item(list, i), key);
        if (k && json_same(k, value)) {
            return (ptrdiff_t)i;
        }
    }
    return -1;
}

static int merge_item(const struct schema *items, const char *key, struct json *list,
                      const struct json *patch, struct diag *why)
{
    const struct json *value = json_get(patch, key);
    struct json *made = NULL;

    if (!value) {
        return FAIL(why, -ERR_CONFLICT, "a list item lacks its key %s", key);
    }
    ptrdiff_t at = find_keyed(list, key, value);
    if (has_directive(patch, "delete")) {
        for (; at >= 0; at = find_keyed(list, key, value)) {
            (void)json_remove_item(list, (size_t)at); /* it was found there */
        }
        return 0;
    }
    if (at >= 0) {
        return merge_object(items, json_item(list, (size_t)at), patch, why);
    }
    int r = fresh(items, patch, why, &made);
    if (r == 0) {
        json_append(list, made);
    }
    return r;
}

static bool comes_first(const struct json *item, const struct json *other, const char *key,
                        const struct json *server)
{
    ptrdiff_t mine = find_keyed(server, key, json_get(item, key));
    ptrdiff_t its = find_keyed(server, key, json_get(other, key));

    return mine < 0 || mine < its;
}

/* The items that the order names come in that order; those it does not name keep their places among
 * them, by where they stood before. New ones come before what they are compared with. */
static struct json *reorder(const struct json *merged, const struct json *order, const char *key,
                            const struct json *server)
{
    struct json *result = json_new_array();
    size_t n = json_count(merged);
    bool *taken = mem_array(n + 1, sizeof(*taken));
    size_t rest = 0;

    for (size_t o = 0; o <= json_count(order); o++) {
        ptrdiff_t at = find_keyed(merged, key, json_get(json_item(order, o), key));
        bool last = o == json_count(order);
        if (!last && (at < 0 || taken[at])) {
            continue;
        }
        for (; rest < n; rest++) {
            const struct json *other = json_item(merged, rest);
            bool named = find_keyed(order, key, json_get(other, key)) >= 0;
            if (!named && !last && comes_first(json_item(merged, (size_t)at), other, key, server)) {
                break;
            }
            if (!named) {
                json_append(result, json_ref(other));
            }
        }
        if (!last) {
            taken[at] = true;
            json_append(result, json_ref(json_item(merged, (size_t)at)));
        }
    }
    mem_free(taken);
    return result;
}

static int check_keys(const struct json *list, const char *key, struct diag *why)
{
    for (size_t i = 0; i < json_count(list); i++) {
        if (!json_get(json_item(list, i), key)) {
            return FAIL(why, -ERR_CONFLICT, "a list item lacks its key %s", key);
        }
    }
    return 0;
}

static int merge_keyed(const struct schema *s, struct json *list, const struct json *patch,
                       struct diag *why)
{
    bool replace = false;
    int r = 0;

    for (size_t i = 0; i < json_count(patch); i++) {
        replace = replace || has_directive(json_item(patch, i), "replace");
    }
    if (replace) {
        json_clear(list);
    }
    for (size_t i = 0; i < json_count(patch) && r == 0; i++) {
        const struct json *item = json_item(patch, i);
        if (!has_directive(item, "replace")) {
            r = merge_item(s->items, s->keys[0], list, item, why);
        }
    }
    return r;
}

static int merge_list(const struct schema *s, struct json *into, const char *field,
                      const struct json *patch, const struct json *value, struct diag *why)
{
    const struct json *order = directive(patch, order_prefix, field);
    AUTO(json) struct json *list = json_clone(json_get(into, field));

    if (check_length(list, value, field, why) || check_length(order, NULL, field, why)) {
        return -ERR_LIMIT;
    }
    if (!json_is_arr(list)) {
        json_unref(list);
        list = json_new_array();
    }
    if (s->is_set) {
        merge_set(list, value);
        json_set(into, field, MOVE(list));
        return 0;
    }
    int r = check_keys(list, s->keys[0], why);
    if (r == 0 && value) {
        r = merge_keyed(s, list, value, why);
    }
    if (r == 0) {
        json_set(into, field,
                 reorder(list, order ? order : value, s->keys[0], json_get(into, field)));
    }
    return r;
}

/* ---- objects */

static bool is_keyed_list(const struct schema *s)
{
    return s && s->type == SCHEMA_LIST && (s->is_set || s->keys[0]);
}

static int merge_field(const struct schema *s, struct json *into, const char *field,
                       const struct json *patch, const struct json *value, struct diag *why)
{
    struct json *is = json_get(into, field);
    struct json *made = NULL;

    if (json_kind(value) == JSON_KIND_NULL) {
        (void)json_remove(into, field); /* absent is fine */
        return 0;
    }
    if (json_is_arr(value) && is_keyed_list(s)) {
        return merge_list(s, into, field, patch, value, why);
    }
    if (json_is_obj(value) && json_is_obj(is) && !has_directive(value, "replace")) {
        if (has_directive(value, "delete")) {
            (void)json_remove(into, field); /* it is there */
            return 0;
        }
        return merge_object(s, is, value, why);
    }
    int r = fresh(s, value, why, &made);
    if (r == 0) {
        json_set(into, field, made);
    }
    return r;
}

static void retain_keys(struct json *into, const struct json *keys)
{
    AUTO(json) struct json *kept = json_new_object();

    for (size_t i = 0; i < json_count(keys); i++) {
        const char *key = json_str(json_item(keys, i), "");
        struct json *v = json_get(into, key);
        if (v) {
            json_set(kept, key, json_ref(v));
        }
    }
    json_clear(into);
    for (struct json_iter it = {0}; json_each(kept, &it);) {
        json_set(into, it.key, json_ref(it.value));
    }
}

static int run_directive(const struct schema *s, struct json *into, const char *name,
                         const struct json *patch, const struct json *value, struct diag *why)
{
    struct slice key = slice_of(name);

    if (strcmp(name, "$patch") == 0 || strcmp(name, "$retainKeys") == 0) {
        return 0; /* has been looked at before the fields */
    }
    if (slice_has_prefix(key, delete_prefix)) {
        const char *field = name + sizeof(delete_prefix) - 1;
        struct json *list = json_get(into, field);
        int r = check_length(list, value, field, why);
        if (r == 0) {
            remove_values(list, value);
        }
        return r;
    }
    if (slice_has_prefix(key, order_prefix)) {
        const char *field = name + sizeof(order_prefix) - 1;
        const struct schema *f = schema_child(s, field);
        bool alone = !json_get(patch, field) && json_get(into, field);
        return alone && is_keyed_list(f) && !f->is_set
                   ? merge_list(f, into, field, patch, NULL, why)
                   : 0;
    }
    return FAIL(why, -ERR_SYNTAX, "no such directive: %.40s", name);
}

static int merge_object(const struct schema *s, struct json *into, const struct json *patch,
                        struct diag *why)
{
    int r = 0;

    if (has_directive(patch, "replace") || has_directive(patch, "delete")) {
        json_clear(into);
    }
    if (json_get(patch, "$retainKeys")) {
        retain_keys(into, json_get(patch, "$retainKeys"));
    }
    for (struct json_iter it = {0}; r == 0 && json_each(patch, &it);) {
        r = it.key[0] == '$'
                ? run_directive(s, into, it.key, patch, it.value, why)
                : merge_field(schema_child(s, it.key), into, it.key, patch, it.value, why);
    }
    return r;
}

int strategic_merge(const struct schema *schema, const struct json *old, const struct json *patch,
                    struct diag *why, struct json **out)
{
    AUTO(json) struct json *result = json_clone(old);
    int r = merge_object(schema, result, patch, why);

    if (r == 0) {
        *out = MOVE(result);
    }
    return r;
}
