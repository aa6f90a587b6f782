/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sets of fields, in the form in which managedFields stores them (FieldsV1): a tree of objects whose
 * keys are "f:name", "k:{"key":value}" for an item of a keyed list, "v:value" for one of a set; a
 * node without children is a field owned as a whole, "." in a list item is the item itself. Pure; all
 * results are the caller's.
 */
#pragma once

#include <stdbool.h>

struct json;
struct schema;
struct strbuf;

enum { FIELDSET_ITEMS = 4096 /* of one keyed list: beyond that it counts as one field */ };

/* The fields that value has. */
struct json *fieldset_of(const struct schema *s, const struct json *value);
/* The fields that new has and old has not, or has otherwise. */
struct json *fieldset_changed(const struct schema *s, const struct json *old,
                              const struct json *new);
/* a gains what only b has. */
void fieldset_add(struct json *a, const struct json *b);
/* a loses what b has. */
void fieldset_subtract(struct json *a, const struct json *b);
bool fieldset_is_empty(const struct json *a);
/* The value that one key of a set names in value; NULL when it is absent. Borrowed. */
struct json *fieldset_child(const struct json *value, const char *key);
/* Appends the key as people write it: .spec, [port=80,protocol="TCP"]. */
void fieldset_print_key(const char *key, struct strbuf *out);
/* "k:{...}" of a list item; NULL when it lacks a key that has no default. The caller's text. */
char *fieldset_item_key(const struct schema *list, const struct json *item);
/* Is there anything below it? */
bool fieldset_is_leaf(const struct json *node);
bool fieldset_is_keyed(const struct schema *s, const struct json *value);
