/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/check.h"

#include <string.h>

#include "apiserver/schema.h"
#include "base/mem.h"
#include "base/num.h"
#include "codec/json.h"

enum { PATH_BYTES = 512 };

struct walk {
    enum check_mode mode;
    struct unknown_fields *unknown;
    struct faults *faults;
    struct strbuf path;
};

static void check_value(struct walk *w, const struct schema *s, struct json *v);

void unknown_fields_fini(struct unknown_fields *u)
{
    for (size_t i = 0; i < u->count; i++) {
        mem_free(u->at[i]);
    }
    u->count = 0;
}

static const char *kind_word(const struct json *v)
{
    switch (json_kind(v)) {
    case JSON_KIND_NULL:
        return "null";
    case JSON_KIND_BOOL:
        return "boolean";
    case JSON_KIND_INT:
    case JSON_KIND_REAL:
        return "number";
    case JSON_KIND_STRING:
        return "string";
    case JSON_KIND_ARRAY:
        return "array";
    case JSON_KIND_OBJECT:
        return "object";
    }
    return "value";
}

static const char *type_word(enum schema_type t)
{
    static const char *const words[] = {
        [SCHEMA_ANY] = "any",       [SCHEMA_STRING] = "string",
        [SCHEMA_INT] = "integer",   [SCHEMA_BOOL] = "boolean",
        [SCHEMA_NUMBER] = "number", [SCHEMA_INT_OR_STRING] = "integer or string",
        [SCHEMA_STRUCT] = "object", [SCHEMA_MAP] = "object",
        [SCHEMA_LIST] = "array",
    };
    return words[t];
}

static void wrong_type(struct walk *w, const struct schema *s, const struct json *v)
{
    faults_addf(w->faults, FAULT_TYPE, strbuf_text(&w->path),
                "\"%s\": %s in body must be of type %s", kind_word(v), strbuf_text(&w->path),
                type_word(s->type));
}

static size_t enter_field(struct walk *w, const char *name)
{
    size_t was = w->path.len;

    if (was > 0) {
        strbuf_putc(&w->path, '.');
    }
    strbuf_puts(&w->path, name);
    return was;
}

static size_t enter_item(struct walk *w, size_t i)
{
    size_t was = w->path.len;

    strbuf_printf(&w->path, "[%zu]", i);
    return was;
}

static void leave(struct walk *w, size_t was)
{
    w->path.len = was;
    if (w->path.p) {
        w->path.p[was] = '\0';
    }
    w->path.overflow = false;
}

static void note_unknown(struct walk *w, const char *name)
{
    if (w->unknown && w->unknown->count < UNKNOWN_MAX) {
        size_t was = enter_field(w, name);
        w->unknown->at[w->unknown->count++] = mem_strdup(strbuf_text(&w->path));
        leave(w, was);
    }
}

/* Unknown members and nulls go. Their names are copied first: removal frees them. */
static void prune(const struct schema *s, struct json *o)
{
    char **gone = NULL;
    size_t n = 0;

    for (struct json_iter it = {0}; json_each(o, &it);) {
        if (schema_field(s, it.key) && json_kind(it.value) != JSON_KIND_NULL) {
            continue;
        }
        if (!gone) {
            gone = mem_array(json_count(o), sizeof(*gone));
        }
        gone[n++] = mem_strdup(it.key);
    }
    for (size_t i = 0; i < n; i++) {
        (void)json_remove(o, gone[i]); /* it was there */
        mem_free(gone[i]);
    }
    mem_free(gone);
}

struct json *check_standard(const struct schema *s)
{
    uint64_t n = 0;

    if (s->type == SCHEMA_BOOL) {
        return json_new_bool(strcmp(s->standard, "true") == 0);
    }
    if (s->type == SCHEMA_INT &&
        num_parse_u64(s->standard, strlen(s->standard), INT64_MAX, &n) == 0) {
        return json_new_int((int64_t)n);
    }
    return json_new_str(s->standard);
}

static void check_absent(struct walk *w, const struct schema *f, struct json *o)
{
    size_t was = enter_field(w, f->name);

    if (f->standard) {
        json_set(o, f->name, check_standard(f));
    } else if (f->make) {
        json_set(o, f->name, json_new_object());
        check_value(w, f, json_get(o, f->name));
    } else if (f->required) {
        faults_add(w->faults, FAULT_REQUIRED, strbuf_text(&w->path), NULL);
    }
    leave(w, was);
}

/* What is there, in the order in which it was written; then what is not. */
static void check_struct(struct walk *w, const struct schema *s, struct json *o)
{
    for (struct json_iter it = {0}; json_each(o, &it);) {
        const struct schema *f = schema_field(s, it.key);
        if (!f) {
            note_unknown(w, it.key);
        } else if (json_kind(it.value) != JSON_KIND_NULL) {
            size_t was = enter_field(w, it.key);
            check_value(w, f, it.value);
            leave(w, was);
        }
    }
    prune(s, o);
    for (size_t i = 0; i < s->field_count && w->mode == CHECK_WHOLE; i++) {
        if (!json_get(o, s->fields[i]->name)) {
            check_absent(w, s->fields[i], o);
        }
    }
}

static void check_map(struct walk *w, const struct schema *s, struct json *o)
{
    for (struct json_iter it = {0}; json_each(o, &it);) {
        size_t was = enter_field(w, it.key);
        check_value(w, s->items, it.value);
        leave(w, was);
    }
}

static void check_list(struct walk *w, const struct schema *s, const struct json *a)
{
    for (size_t i = 0; i < json_count(a); i++) {
        size_t was = enter_item(w, i);
        check_value(w, s->items, json_item(a, i));
        leave(w, was);
    }
}

static void check_choice(struct walk *w, const struct schema *s, const char *value)
{
    AUTO(strbuf) struct strbuf list = {.limit = PATH_BYTES};

    for (size_t i = 0; s->choices[i]; i++) {
        if (strcmp(s->choices[i], value) == 0) {
            return;
        }
        strbuf_printf(&list, "%s\"%s\"", i > 0 ? ", " : "", s->choices[i]);
    }
    faults_addf(w->faults, FAULT_UNSUPPORTED, strbuf_text(&w->path),
                "\"%.64s\": supported values: %s", value, strbuf_text(&list));
}

static void check_int(struct walk *w, const struct schema *s, int64_t n)
{
    if (s->bounded && (n < s->least || n > s->most)) {
        faults_addf(w->faults, FAULT_INVALID, strbuf_text(&w->path),
                    "%lld: must be between %lld and %lld, inclusive", (long long)n,
                    (long long)s->least, (long long)s->most);
    }
}

static bool has_type(enum schema_type t, enum json_kind k)
{
    switch (t) {
    case SCHEMA_ANY:
        return true;
    case SCHEMA_STRING:
        return k == JSON_KIND_STRING;
    case SCHEMA_INT:
        return k == JSON_KIND_INT;
    case SCHEMA_BOOL:
        return k == JSON_KIND_BOOL;
    case SCHEMA_NUMBER:
        return k == JSON_KIND_INT || k == JSON_KIND_REAL;
    case SCHEMA_INT_OR_STRING:
        return k == JSON_KIND_INT || k == JSON_KIND_STRING;
    case SCHEMA_STRUCT:
    case SCHEMA_MAP:
        return k == JSON_KIND_OBJECT;
    case SCHEMA_LIST:
        return k == JSON_KIND_ARRAY;
    }
    return false;
}

static void check_value(struct walk *w, const struct schema *s, struct json *v)
{
    if (!has_type(s->type, json_kind(v))) {
        wrong_type(w, s, v);
    } else if (s->type == SCHEMA_STRUCT) {
        check_struct(w, s, v);
    } else if (s->type == SCHEMA_MAP) {
        check_map(w, s, v);
    } else if (s->type == SCHEMA_LIST) {
        check_list(w, s, v);
    } else if (s->type == SCHEMA_STRING && s->choices) {
        check_choice(w, s, json_str(v, ""));
    } else if (s->type == SCHEMA_INT) {
        check_int(w, s, json_int(v, 0));
    }
}

void check_object(const struct schema *s, struct json *o, enum check_mode mode,
                  struct unknown_fields *unknown, struct faults *faults)
{
    struct walk w = {
        .mode = mode, .unknown = unknown, .faults = faults, .path = {.limit = PATH_BYTES}};

    check_struct(&w, s, o);
    strbuf_fini(&w.path);
}
