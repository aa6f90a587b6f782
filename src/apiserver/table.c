/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/table.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "apiserver/columns.h"
#include "apiserver/kind.h"
#include "apiserver/object.h"
#include "codec/json.h"

static const struct column *columns_of(const struct kind *kind)
{
    return kind->columns ? kind->columns : columns_plain;
}

static struct json *definitions(const struct kind *kind)
{
    struct json *all = json_new_array();

    for (const struct column *c = columns_of(kind); c->name; c++) {
        struct json *d = json_new_object();
        json_set_str(d, "name", c->name);
        json_set_str(d, "type", c->type);
        json_set_str(d, "format", c->format);
        json_set_str(d, "description", "");
        json_set_int(d, "priority", c->priority);
        json_append(all, d);
    }
    return all;
}

struct json *table_new(const struct kind *kind, bool with_columns)
{
    struct json *t = json_new_object();

    json_set_str(t, "kind", "Table");
    json_set_str(t, "apiVersion", "meta.k8s.io/v1");
    json_set(t, "metadata", json_new_object());
    json_set(t, "columnDefinitions", with_columns ? definitions(kind) : NULL);
    json_set(t, "rows", json_new_array());
    return t;
}

static struct json *cell(const struct column *c, const struct json *object, int64_t now_s)
{
    if (c->cell) {
        return c->cell(object, now_s);
    }
    const struct json *v = json_at(object, c->path);
    if (!v && strcmp(c->type, "string") == 0 && strncmp(c->path, "metadata.", 9) == 0) {
        return json_new_str("");
    }
    if (json_is_arr(v) || json_is_obj(v)) {
        AUTO(strbuf) struct strbuf text = {0};
        json_print(v, 0, &text);
        return json_new_str(strbuf_text(&text));
    }
    return v ? json_clone(v) : json_new_null();
}

static struct json *row_object(struct json *whole, const char *include)
{
    if (strcmp(include, "None") == 0) {
        return NULL;
    }
    if (strcmp(include, "Object") == 0) {
        return json_ref(whole);
    }
    struct json *part = json_new_object();
    json_set_str(part, "kind", "PartialObjectMetadata");
    json_set_str(part, "apiVersion", "meta.k8s.io/v1");
    json_set(part, "metadata", json_ref(json_get(whole, "metadata")));
    return part;
}

void table_add(struct json *table, const struct object *o, const char *version, const char *include,
               int64_t now_s)
{
    AUTO(json) struct json *whole = object_parse(o, version);
    struct json *row = json_new_object();
    struct json *cells = json_new_array();

    for (const struct column *c = columns_of(o->kind); c->name; c++) {
        json_append(cells, cell(c, whole, now_s));
    }
    json_set(row, "cells", cells);
    json_set(row, "object", row_object(whole, include));
    json_append(json_get(table, "rows"), row);
}

void table_set_version(struct json *table, uint64_t rv)
{
    char text[24];

    (void)snprintf(text, sizeof(text), "%" PRIu64, rv); /* 20 digits fit */
    json_set_str(json_make_object(table, "metadata"), "resourceVersion", text);
}
