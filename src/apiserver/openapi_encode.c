/* SPDX-License-Identifier: Apache-2.0 */
/*
 * OpenAPI 2.0 as protobuf: the messages of openapi.v2 (gnostic's OpenAPIv2.proto, whose field numbers
 * these are), so far as our documents use them. Bounds are left out: they are doubles there, and the
 * descriptions tell them.
 */
#include <string.h>

#include "apiserver/openapi.h"
#include "base/mem.h"
#include "codec/json.h"
#include "codec/pbwrite.h"

enum document_field { DOC_SWAGGER = 1, DOC_INFO = 2, DOC_PATHS = 8, DOC_DEFINITIONS = 9 };
enum info_field { INFO_TITLE = 1, INFO_VERSION = 2 };
enum named_field { NAMED_NAME = 1, NAMED_VALUE = 2 };
enum any_field { ANY_YAML = 2 };
enum paths_field { PATHS_PATH = 2 };
enum path_field { PATH_PARAMETERS = 9 };
enum operation_field { OP_PARAMETERS = 8, OP_RESPONSES = 9, OP_EXTENSION = 13 };
enum parameter_field {
    ITEM_PARAMETER = 1,
    PARAMETER_NON_BODY = 2,
    NON_BODY_QUERY = 3,
    NON_BODY_PATH
};
enum query_field { QUERY_REQUIRED = 1, QUERY_IN = 2, QUERY_NAME = 4, QUERY_TYPE = 6 };
enum { IN_PATH_TYPE = 5 };
enum responses_field { RESPONSES_CODE = 1, VALUE_RESPONSE = 1, RESPONSE_DESCRIPTION = 1 };
enum schema_field_number {
    SCHEMA_FORMAT = 2,
    SCHEMA_DESCRIPTION = 4,
    SCHEMA_DEFAULT = 5,
    SCHEMA_REQUIRED = 19,
    SCHEMA_ENUM = 20,
    SCHEMA_ADDITIONAL = 21,
    SCHEMA_TYPE = 22,
    SCHEMA_ITEMS = 23,
    SCHEMA_PROPERTIES = 25,
    SCHEMA_EXTENSION = 31,
};

static void put_text(struct strbuf *out, uint32_t field, const struct json *o, const char *key)
{
    pb_put_text(out, field, json_str_at(o, key, ""));
}

/* Any: the value as YAML, which JSON is. */
static void put_any(struct strbuf *out, uint32_t field, const struct json *v)
{
    AUTO(strbuf) struct strbuf text = {0};
    size_t any = pb_open(out, field);

    json_print(v, 0, &text);
    pb_put_text(out, ANY_YAML, strbuf_text(&text));
    pb_close(out, any);
}

static void put_extensions(struct strbuf *out, uint32_t field, const struct json *o)
{
    for (struct json_iter it = {0}; json_each(o, &it);) {
        if (strncmp(it.key, "x-", 2) == 0) {
            size_t named = pb_open(out, field);
            pb_put_text(out, NAMED_NAME, it.key);
            put_any(out, NAMED_VALUE, it.value);
            pb_close(out, named);
        }
    }
}

static void put_all(struct strbuf *out, uint32_t field, const struct json *o,
                    void (*put)(struct strbuf *out, const struct json *value))
{
    for (struct json_iter it = {0}; json_each(o, &it);) {
        size_t named = pb_open(out, field);
        pb_put_text(out, NAMED_NAME, it.key);
        size_t value = pb_open(out, NAMED_VALUE);
        put(out, it.value);
        pb_close(out, value);
        pb_close(out, named);
    }
}

static void put_schema(struct strbuf *out, const struct json *s);

static void put_inner(struct strbuf *out, uint32_t field, const struct json *schema)
{
    if (schema) {
        size_t outer = pb_open(out, field);
        size_t inner = pb_open(out, 1); /* "schema" of both messages that hold one */
        put_schema(out, schema);
        pb_close(out, inner);
        pb_close(out, outer);
    }
}

static void put_type(struct strbuf *out, const struct json *s)
{
    const char *type = json_str_at(s, "type", "");

    if (type[0] != '\0') {
        size_t item = pb_open(out, SCHEMA_TYPE);
        pb_put_text(out, 1, type);
        pb_close(out, item);
    }
}

static void put_schema(struct strbuf *out, const struct json *s)
{
    const struct json *required = json_get(s, "required");
    const struct json *choices = json_get(s, "enum");

    put_text(out, SCHEMA_FORMAT, s, "format");
    put_text(out, SCHEMA_DESCRIPTION, s, "description");
    if (json_get(s, "default")) {
        put_any(out, SCHEMA_DEFAULT, json_get(s, "default"));
    }
    for (size_t i = 0; i < json_count(required); i++) {
        pb_put_text(out, SCHEMA_REQUIRED, json_str(json_item(required, i), ""));
    }
    for (size_t i = 0; i < json_count(choices); i++) {
        put_any(out, SCHEMA_ENUM, json_item(choices, i));
    }
    put_inner(out, SCHEMA_ADDITIONAL, json_get(s, "additionalProperties"));
    put_type(out, s);
    put_inner(out, SCHEMA_ITEMS, json_get(s, "items"));
    if (json_get(s, "properties")) {
        size_t properties = pb_open(out, SCHEMA_PROPERTIES);
        put_all(out, 1, json_get(s, "properties"), put_schema);
        pb_close(out, properties);
    }
    put_extensions(out, SCHEMA_EXTENSION, s);
}

static void put_parameter(struct strbuf *out, uint32_t field, const struct json *p)
{
    bool in_path = strcmp(json_str_at(p, "in", ""), "path") == 0;
    size_t item = pb_open(out, field);
    size_t parameter = pb_open(out, ITEM_PARAMETER);
    size_t non_body = pb_open(out, PARAMETER_NON_BODY);
    size_t one = pb_open(out, in_path ? NON_BODY_PATH : NON_BODY_QUERY);

    pb_put_number(out, QUERY_REQUIRED, in_path);
    put_text(out, QUERY_IN, p, "in");
    put_text(out, QUERY_NAME, p, "name");
    put_text(out, in_path ? IN_PATH_TYPE : QUERY_TYPE, p, "type");
    pb_close(out, one);
    pb_close(out, non_body);
    pb_close(out, parameter);
    pb_close(out, item);
}

static void put_parameters(struct strbuf *out, uint32_t field, const struct json *o)
{
    const struct json *all = json_get(o, "parameters");

    for (size_t i = 0; i < json_count(all); i++) {
        put_parameter(out, field, json_item(all, i));
    }
}

static void put_response(struct strbuf *out, const struct json *r)
{
    size_t response = pb_open(out, VALUE_RESPONSE);

    put_text(out, RESPONSE_DESCRIPTION, r, "description");
    pb_close(out, response);
}

static void put_operation(struct strbuf *out, const struct json *o)
{
    put_parameters(out, OP_PARAMETERS, o);
    size_t responses = pb_open(out, OP_RESPONSES);
    put_all(out, RESPONSES_CODE, json_get(o, "responses"), put_response);
    pb_close(out, responses);
    put_extensions(out, OP_EXTENSION, o);
}

static void put_path(struct strbuf *out, const struct json *path)
{
    static const struct {
        const char *method;
        uint32_t field;
    } methods[] = {{"get", 2}, {"put", 3}, {"post", 4}, {"delete", 5}, {"patch", 8}};

    for (size_t i = 0; i < ARRAY_LEN(methods); i++) {
        const struct json *o = json_get(path, methods[i].method);
        if (o) {
            size_t operation = pb_open(out, methods[i].field);
            put_operation(out, o);
            pb_close(out, operation);
        }
    }
    put_parameters(out, PATH_PARAMETERS, path);
}

void openapi_v2_encode(const struct json *document, struct strbuf *out)
{
    const struct json *info = json_get(document, "info");

    put_text(out, DOC_SWAGGER, document, "swagger");
    size_t about = pb_open(out, DOC_INFO);
    put_text(out, INFO_TITLE, info, "title");
    put_text(out, INFO_VERSION, info, "version");
    pb_close(out, about);
    size_t paths = pb_open(out, DOC_PATHS);
    put_all(out, PATHS_PATH, json_get(document, "paths"), put_path);
    pb_close(out, paths);
    size_t definitions = pb_open(out, DOC_DEFINITIONS);
    put_all(out, 1, json_get(document, "definitions"), put_schema);
    pb_close(out, definitions);
}
