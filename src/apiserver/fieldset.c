/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/fieldset.h"

#include <string.h>

#include "apiserver/schema.h"
#include "base/mem.h"
#include "base/num.h"
#include "base/str.h"
#include "codec/json.h"

/* A field's key and back. */
static char *field_key(const char *prefix, const char *name)
{
    struct strbuf b = {0};

    strbuf_puts(&b, prefix);
    strbuf_puts(&b, name);
    return strbuf_take(&b);
}

static struct json *default_key(const struct schema *items, const char *name)
{
    const struct schema *f = schema_field(items, name);

    return f && f->standard ? json_new_str(f->standard) : NULL;
}

char *fieldset_item_key(const struct schema *list, const struct json *item)
{
    AUTO(json) struct json *keys = json_new_object();
    struct strbuf b = {0};

    for (int i = 0; list->keys[i]; i++) {
        struct json *v = json_ref(json_get(item, list->keys[i]));
        v = v ? v : default_key(list->items, list->keys[i]);
        if (!v) {
            return NULL;
        }
        json_set(keys, list->keys[i], v);
    }
    strbuf_puts(&b, "k:");
    json_print(keys, 0, &b);
    return strbuf_take(&b);
}

static char *value_key(const struct json *value)
{
    struct strbuf b = {0};

    strbuf_puts(&b, "v:");
    json_print(value, 0, &b);
    return strbuf_take(&b);
}

static char *key_of(const struct schema *s, const struct json *item)
{
    return s->is_set ? value_key(item) : fieldset_item_key(s, item);
}

bool fieldset_is_keyed(const struct schema *s, const struct json *value)
{
    return s && s->type == SCHEMA_LIST && !s->atomic && (s->is_set || s->keys[0]) &&
           json_is_arr(value) && json_count(value) <= FIELDSET_ITEMS;
}

static bool is_granular(const struct schema *s, const struct json *value)
{
    return s && !s->atomic && (s->type == SCHEMA_STRUCT || s->type == SCHEMA_MAP) &&
           json_is_obj(value);
}

bool fieldset_is_leaf(const struct json *node)
{
    return json_count(node) == 0;
}

static struct json *set_of_list(const struct schema *s, const struct json *list)
{
    struct json *set = json_new_object();

    for (size_t i = 0; i < json_count(list); i++) {
        const struct json *item = json_item(list, i);
        AUTO(text) char *key = key_of(s, item);
        if (!key) {
            continue; /* an item without its key belongs to nobody */
        }
        struct json *node = s->is_set ? json_new_object() : fieldset_of(s->items, item);
        if (!s->is_set) {
            json_set(node, ".", json_new_object());
        }
        json_set(set, key, node);
    }
    return set;
}

struct json *fieldset_of(const struct schema *s, const struct json *value)
{
    if (fieldset_is_keyed(s, value)) {
        return set_of_list(s, value);
    }
    struct json *set = json_new_object();
    if (!is_granular(s, value)) {
        return set;
    }
    for (struct json_iter it = {0}; json_each(value, &it);) {
        AUTO(text) char *key = field_key("f:", it.key);
        json_set(set, key, fieldset_of(schema_child(s, it.key), it.value));
    }
    return set;
}

/* Adds key to *set, making it if need be. */
static void put(struct json **set, const char *key, struct json *take_node)
{
    if (!*set) {
        *set = json_new_object();
    }
    json_set(*set, key, take_node);
}

/* The items by their keys: the first of equal ones. Each is looked for, and lists may be long. */
static struct json *by_key(const struct schema *s, const struct json *list)
{
    struct json *index = json_new_object();

    for (size_t i = json_count(list); i > 0; i--) {
        AUTO(text) char *key = key_of(s, json_item(list, i - 1));
        if (key) {
            json_set(index, key, json_ref(json_item(list, i - 1)));
        }
    }
    return index;
}

static struct json *changed(const struct schema *s, const struct json *old, const struct json *new);

static struct json *changed_list(const struct schema *s, const struct json *old,
                                 const struct json *new)
{
    struct json *set = NULL;
    AUTO(json) struct json *before = by_key(s, old);

    for (size_t i = 0; i < json_count(new); i++) {
        const struct json *item = json_item(new, i);
        AUTO(text) char *key = key_of(s, item);
        const struct json *was = key ? json_get(before, key) : NULL;
        if (!key || (was && json_same(was, item))) {
            continue;
        }
        struct json *node = s->is_set ? json_new_object()
                            : was     ? changed(s->items, was, item)
                                      : fieldset_of(s->items, item);
        if (node && !was && !s->is_set) {
            json_set(node, ".", json_new_object());
        }
        if (node) {
            put(&set, key, node);
        }
    }
    return set;
}

/* NULL: nothing. An empty object: this very field. */
static struct json *changed(const struct schema *s, const struct json *old, const struct json *new)
{
    struct json *set = NULL;

    if (!new || json_same(old, new)) {
        return NULL;
    }
    if (!old) {
        return fieldset_of(s, new);
    }
    if (fieldset_is_keyed(s, new) && json_is_arr(old)) {
        return changed_list(s, old, new);
    }
    if (!is_granular(s, new) || !json_is_obj(old)) {
        return fieldset_of(s, new);
    }
    for (struct json_iter it = {0}; json_each(new, &it);) {
        struct json *node = changed(schema_child(s, it.key), json_get(old, it.key), it.value);
        if (node) {
            AUTO(text) char *key = field_key("f:", it.key);
            put(&set, key, node);
        }
    }
    return set;
}

struct json *fieldset_changed(const struct schema *s, const struct json *old,
                              const struct json *new)
{
    struct json *set = changed(s, old, new);

    return set ? set : json_new_object();
}

void fieldset_add(struct json *a, const struct json *b)
{
    for (struct json_iter it = {0}; json_each(b, &it);) {
        struct json *mine = json_get(a, it.key);
        if (!mine) {
            json_set(a, it.key, json_clone(it.value));
        } else {
            fieldset_add(mine, it.value);
        }
    }
}

void fieldset_subtract(struct json *a, const struct json *b)
{
    for (struct json_iter it = {0}; json_each(b, &it);) {
        struct json *mine = json_get(a, it.key);
        bool whole = fieldset_is_leaf(it.value);
        if (!mine || (!whole && fieldset_is_leaf(mine))) {
            continue; /* a leaf of mine whose insides b names is the container: that stays */
        }
        if (!whole) {
            fieldset_subtract(mine, it.value);
        }
        if (whole || fieldset_is_leaf(mine)) {
            (void)json_remove(a, it.key); /* it is there */
        }
    }
}

bool fieldset_is_empty(const struct json *a)
{
    return json_count(a) == 0;
}

/* Does item have all the key fields, or leave them to their defaults? */
static bool has_keys(const struct json *item, const struct json *keys)
{
    for (struct json_iter it = {0}; json_each(keys, &it);) {
        const struct json *v = json_get(item, it.key);
        if (v && !json_same(v, it.value)) {
            return false;
        }
    }
    return json_is_obj(item);
}

struct json *fieldset_child(const struct json *value, const char *key)
{
    AUTO(json) struct json *named = NULL;

    if (strncmp(key, "f:", 2) == 0) {
        return json_get(value, key + 2);
    }
    if (strlen(key) < 2 || json_parse(&named, key + 2, strlen(key) - 2, NULL, NULL) < 0) {
        return NULL;
    }
    for (size_t i = 0; i < json_count(value) && json_is_arr(value); i++) {
        struct json *item = json_item(value, i);
        if (key[0] == 'v' ? json_same(item, named) : has_keys(item, named)) {
            return item;
        }
    }
    return NULL;
}

void fieldset_print_key(const char *key, struct strbuf *out)
{
    AUTO(json) struct json *named = NULL;

    if (strncmp(key, "f:", 2) == 0) {
        strbuf_printf(out, ".%s", key + 2);
        return;
    }
    if (strlen(key) < 2 || json_parse(&named, key + 2, strlen(key) - 2, NULL, NULL) < 0) {
        return;
    }
    strbuf_putc(out, '[');
    if (json_is_obj(named)) {
        const char *comma = "";
        for (struct json_iter it = {0}; json_each(named, &it); comma = ",") {
            strbuf_printf(out, "%s%s=", comma, it.key);
            json_print(it.value, 0, out);
        }
    } else {
        strbuf_putc(out, '=');
        json_print(named, 0, out);
    }
    strbuf_putc(out, ']');
}
