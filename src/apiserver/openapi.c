/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/openapi.h"

#include <inttypes.h>
#include <string.h>

#include "apiserver/check.h"
#include "apiserver/kind.h"
#include "apiserver/schema.h"
#include "base/mem.h"
#include "codec/json.h"

#define GVK "x-kubernetes-group-version-kind"

struct document {
    struct schema *const *schemas;
    bool is_v3;
    struct json *paths;
    struct json *definitions;
};

/* ---- one schema */

static void put_schema(const struct document *d, const struct schema *s, struct json *out);

static struct json *new_schema(const struct document *d, const struct schema *s)
{
    struct json *out = json_new_object();

    put_schema(d, s, out);
    return out;
}

static void put_fields(const struct document *d, const struct schema *s, struct json *out)
{
    struct json *fields = json_make_object(out, "properties");

    json_set_str(out, "type", "object");
    for (size_t i = 0; i < s->field_count; i++) {
        const struct schema *f = s->fields[i];
        json_set(fields, f->name, new_schema(d, f));
        if (f->required) {
            json_append_str(json_make_array(out, "required"), f->name);
        }
    }
}

/* Both the words of server-side apply and those of strategic merge. */
static void put_list(const struct document *d, const struct schema *s, struct json *out)
{
    bool keyed = s->keys[0] != NULL;

    json_set_str(out, "type", "array");
    json_set(out, "items", new_schema(d, s->items));
    json_set_str(out, "x-kubernetes-list-type", keyed ? "map" : s->is_set ? "set" : "atomic");
    for (size_t i = 0; s->keys[i]; i++) {
        json_append_str(json_make_array(out, "x-kubernetes-list-map-keys"), s->keys[i]);
    }
    if (keyed) {
        json_set_str(out, "x-kubernetes-patch-merge-key", s->keys[0]);
    }
    if (keyed || s->is_set) {
        json_set_str(out, "x-kubernetes-patch-strategy", "merge");
    }
}

#define INT_OR_STRING "IntOrString"

static void put_number_or_text(const struct document *d, struct json *out)
{
    if (d->is_v3) { /* clients show the last word of the name */
        json_set_str(out, "$ref", "#/components/schemas/" INT_OR_STRING);
    } else { /* there is no alternative of types in 2.0 */
        json_set_str(out, "type", "string");
        json_set_str(out, "format", "int-or-string");
    }
}

static void define_number_or_text(const struct document *d)
{
    static const char *const types[] = {"integer", "string"};
    struct json *out = json_make_object(d->definitions, INT_OR_STRING);

    json_set_str(out, "format", "int-or-string");
    for (size_t i = 0; i < ARRAY_LEN(types); i++) {
        struct json *one = json_new_object();
        json_set_str(one, "type", types[i]);
        json_append(json_make_array(out, "oneOf"), one);
    }
}

static void put_type(const struct document *d, const struct schema *s, struct json *out)
{
    switch (s->type) {
    case SCHEMA_ANY:
        json_set_bool(out, "x-kubernetes-preserve-unknown-fields", true);
        break;
    case SCHEMA_STRING:
        json_set_str(out, "type", "string");
        break;
    case SCHEMA_INT:
        json_set_str(out, "type", "integer");
        json_set_str(out, "format", "int64");
        break;
    case SCHEMA_BOOL:
        json_set_str(out, "type", "boolean");
        break;
    case SCHEMA_NUMBER:
        json_set_str(out, "type", "number");
        break;
    case SCHEMA_INT_OR_STRING:
        put_number_or_text(d, out);
        break;
    case SCHEMA_STRUCT:
        put_fields(d, s, out);
        break;
    case SCHEMA_MAP:
        json_set_str(out, "type", "object");
        json_set(out, "additionalProperties", new_schema(d, s->items));
        break;
    case SCHEMA_LIST:
        put_list(d, s, out);
        break;
    }
}

/* What older clients show of a field beside its type is its description alone. */
static void put_description(const struct schema *s, struct json *out)
{
    AUTO(strbuf) struct strbuf text = {0};

    for (size_t i = 0; s->choices && s->choices[i]; i++) {
        strbuf_printf(&text, "%s%s", i > 0 ? ", " : "One of: ", s->choices[i]);
    }
    if (s->bounded) {
        strbuf_printf(&text, "From %" PRId64 " to %" PRId64, s->least, s->most);
    }
    if (s->standard) {
        strbuf_printf(&text, "%sDefault: %s", text.len > 0 ? ". " : "",
                      s->standard[0] != '\0' ? s->standard : "\"\"");
    }
    if (text.len > 0) {
        strbuf_putc(&text, '.');
        json_set_str(out, "description", strbuf_text(&text));
    }
}

static void put_schema(const struct document *d, const struct schema *s, struct json *out)
{
    put_type(d, s, out);
    put_description(s, out);
    for (size_t i = 0; s->choices && s->choices[i]; i++) {
        json_append_str(json_make_array(out, "enum"), s->choices[i]);
    }
    if (s->bounded) {
        json_set_int(out, "minimum", s->least);
        json_set_int(out, "maximum", s->most);
    }
    if (s->standard) {
        json_set(out, "default", check_standard(s));
    }
    if (s->atomic && s->type != SCHEMA_LIST) {
        json_set_str(out, "x-kubernetes-map-type", "atomic");
    }
}

/* ---- kinds */

static struct json *group_version_kind(const struct kind *k, const char *version)
{
    struct json *o = json_new_object();

    json_set_str(o, "group", k->group);
    json_set_str(o, "kind", k->name);
    json_set_str(o, "version", version);
    return o;
}

/* version NULL: of all versions, whose fields are the same. */
static void add_definition(struct document *d, const struct kind *k, const char *version)
{
    AUTO(strbuf) struct strbuf name = {0};
    struct json *out = new_schema(d, d->schemas[kind_index(k)]);
    struct json *names = json_make_array(out, GVK);

    for (size_t i = 0; k->versions[i]; i++) {
        if (!version || strcmp(k->versions[i], version) == 0) {
            json_append(names, group_version_kind(k, k->versions[i]));
        }
    }
    strbuf_printf(&name, "%s.%s", k->group[0] != '\0' ? k->group : "core", k->name);
    json_set(d->definitions, strbuf_text(&name), out);
}

/* ---- paths */

static void add_parameter(const struct document *d, struct json *list, const char *in,
                          struct slice name)
{
    struct json *p = json_new_object();

    json_set_str(p, "in", in);
    json_set(p, "name", json_new_strn(name.p, name.len));
    json_set_str(d->is_v3 ? json_make_object(p, "schema") : p, "type", "string");
    if (strcmp(in, "path") == 0) {
        json_set_bool(p, "required", true);
    }
    json_append(list, p);
}

struct verb {
    const char *method;
    const char *action;
    const char *parameters; /* of the query, a blank between them */
};

static const struct verb named_verbs[] = {
    {"get", "get", ""},
    {"put", "put", "dryRun fieldManager fieldValidation"},
    {"patch", "patch", "dryRun fieldManager fieldValidation force"},
    {"delete", "delete", "dryRun gracePeriodSeconds orphanDependents propagationPolicy"}};
static const struct verb many_verbs[] = {
    {"get", "list",
     "allowWatchBookmarks continue fieldSelector labelSelector limit resourceVersion "
     "resourceVersionMatch sendInitialEvents timeoutSeconds watch"},
    {"post", "post", "dryRun fieldManager fieldValidation"},
    {"delete", "deletecollection",
     "continue dryRun fieldSelector gracePeriodSeconds labelSelector limit orphanDependents "
     "propagationPolicy"}};

static void add_verb(const struct document *d, struct json *path, const struct verb *v,
                     const struct kind *k, const char *version)
{
    struct json *o = json_make_object(path, v->method);
    struct slice part;
    struct slice rest = slice_of(v->parameters);
    bool more = rest.len > 0;

    while (more) {
        more = slice_cut(rest, ' ', &part, &rest);
        add_parameter(d, json_make_array(o, "parameters"), "query", part);
    }
    json_set_str(json_make_object(o, "responses.200"), "description", "OK");
    json_set_str(o, "x-kubernetes-action", v->action);
    json_set(o, GVK, group_version_kind(k, version));
}

/* tail is behind the resource: "", "/{name}" or "/{name}/status". */
static struct json *add_path(const struct document *d, const struct kind *k, const char *version,
                             bool in_namespace, const char *tail)
{
    AUTO(strbuf) struct strbuf at = {0};
    struct json *path = json_new_object();

    if (k->group[0] != '\0') {
        strbuf_printf(&at, "/apis/%s/%s/", k->group, version);
    } else {
        strbuf_printf(&at, "/api/%s/", version);
    }
    if (tail[0] != '\0') {
        add_parameter(d, json_make_array(path, "parameters"), "path", slice_of("name"));
    }
    if (in_namespace) {
        add_parameter(d, json_make_array(path, "parameters"), "path", slice_of("namespace"));
        strbuf_puts(&at, "namespaces/{namespace}/");
    }
    strbuf_printf(&at, "%s%s", k->plural, tail);
    json_set(d->paths, strbuf_text(&at), path);
    return path;
}

static void add_verbs(const struct document *d, struct json *path, const struct verb *v, size_t n,
                      const struct kind *k, const char *version)
{
    for (size_t i = 0; i < n; i++) {
        add_verb(d, path, &v[i], k, version);
    }
}

static void add_paths(const struct document *d, const struct kind *k, const char *version)
{
    bool in_namespace = kind_is(k, KIND_NAMESPACED);
    struct json *many = add_path(d, k, version, in_namespace, "");

    if (kind_is(k, KIND_CREATE_ONLY)) {
        add_verb(d, many, &many_verbs[1], k, version);
        return;
    }
    add_verbs(d, many, many_verbs, ARRAY_LEN(many_verbs), k, version);
    if (in_namespace) {
        add_verb(d, add_path(d, k, version, false, ""), &many_verbs[0], k, version);
    }
    add_verbs(d, add_path(d, k, version, in_namespace, "/{name}"), named_verbs,
              ARRAY_LEN(named_verbs), k, version);
    if (kind_is(k, KIND_STATUS)) { /* all but deletion, which is the last */
        add_verbs(d, add_path(d, k, version, in_namespace, "/{name}/status"), named_verbs,
                  ARRAY_LEN(named_verbs) - 1, k, version);
    }
}

/* ---- documents */

static struct json *begin(const struct document *d)
{
    struct json *o = json_new_object();

    json_set_str(o, d->is_v3 ? "openapi" : "swagger", d->is_v3 ? "3.0.0" : "2.0");
    json_set_str(json_make_object(o, "info"), "title", "Ambit");
    json_set_str(json_make_object(o, "info"), "version", AMBIT_VERSION);
    return o;
}

struct json *openapi_v2(struct schema *const *schemas)
{
    struct document d = {.schemas = schemas};
    struct json *o = begin(&d);

    d.paths = json_make_object(o, "paths");
    d.definitions = json_make_object(o, "definitions");
    for (size_t i = 0; i < kind_count; i++) {
        const struct kind *k = &kind_list[i];
        for (size_t v = 0; !kind_is(k, KIND_INTERNAL) && k->versions[v]; v++) {
            add_paths(&d, k, k->versions[v]);
        }
        if (!kind_is(k, KIND_INTERNAL)) {
            add_definition(&d, k, NULL);
        }
    }
    return o;
}

struct json *openapi_v3(struct schema *const *schemas, const char *group, const char *version)
{
    struct document d = {.schemas = schemas, .is_v3 = true};
    AUTO(json) struct json *o = begin(&d);

    d.paths = json_make_object(o, "paths");
    d.definitions = json_make_object(o, "components.schemas");
    for (size_t i = 0; i < kind_count; i++) {
        const struct kind *k = &kind_list[i];
        if (!kind_is(k, KIND_INTERNAL) && strcmp(k->group, group) == 0 &&
            kind_version(k, slice_of(version))) {
            add_paths(&d, k, version);
            add_definition(&d, k, version);
        }
    }
    if (json_count(d.definitions) == 0) {
        return NULL;
    }
    define_number_or_text(&d);
    return MOVE(o);
}
