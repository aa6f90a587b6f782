/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/object.h"

#include <string.h>

#include "apiserver/kind.h"
#include "base/mem.h"
#include "codec/json.h"

/* Measures in a first pass, fills in a second one: the allocation's parts lie in this order. */
struct layout {
    size_t label_count;
    size_t field_count;
    size_t string_bytes;
};

static void measure(struct layout *l, const char *s)
{
    l->string_bytes += strlen(s) + 1;
}

static const char *put(char **at, const char *s)
{
    size_t n = strlen(s) + 1;
    const char *here = memcpy(*at, s, n);

    *at += n;
    return here;
}

/* Selectors compare text: numbers and truth values are selected by their spelling, a list of texts by
 * its items with commas between them, a list of addresses ({ip}) likewise. Writes into out. */
static const char *field_text(const struct json *body, const char *path, struct strbuf *out)
{
    const struct json *v = json_at(body, path);

    strbuf_clear(out);
    for (size_t i = 0; json_is_arr(v) && i < json_count(v); i++) {
        const struct json *item = json_item(v, i);
        strbuf_printf(out, "%s%s", i > 0 ? "," : "", json_str(item, json_str_at(item, "ip", "")));
    }
    if (json_kind(v) == JSON_KIND_BOOL) {
        strbuf_puts(out, json_bool(v, false) ? "true" : "false");
    } else if (json_kind(v) == JSON_KIND_INT) {
        strbuf_printf(out, "%lld", (long long)json_int(v, 0));
    } else if (!v && strcmp(path, "spec.unschedulable") == 0) {
        strbuf_puts(out, "false"); /* a node that says nothing can be scheduled on */
    } else {
        strbuf_puts(out, json_str(v, ""));
    }
    return strbuf_text(out);
}

static struct layout measure_all(const struct kind *kind, const struct json *body,
                                 const struct json *meta)
{
    struct layout l = {0};
    AUTO(strbuf) struct strbuf text = {0};

    for (struct json_iter it = {0}; json_each(json_get(meta, "labels"), &it);) {
        measure(&l, it.key);
        measure(&l, json_str(it.value, ""));
        l.label_count++;
    }
    for (; kind->selectable[l.field_count]; l.field_count++) {
        measure(&l, field_text(body, kind->selectable[l.field_count], &text));
    }
    measure(&l, json_str_at(meta, "namespace", ""));
    measure(&l, json_str_at(meta, "name", ""));
    measure(&l, json_str_at(meta, "uid", ""));
    return l;
}

static void fill(struct object *o, const struct json *body, const struct layout *l, char *at)
{
    const struct json *meta = json_get(body, "metadata");
    struct pair *labels = (struct pair *)(void *)(o + 1);
    const char **fields = (const char **)(void *)(labels + l->label_count);
    AUTO(strbuf) struct strbuf text = {0};

    o->labels = labels;
    o->fields = fields;
    for (struct json_iter it = {0}; json_each(json_get(meta, "labels"), &it);) {
        labels[o->label_count].key = put(&at, it.key);
        labels[o->label_count++].value = put(&at, json_str(it.value, ""));
    }
    for (size_t i = 0; i < l->field_count; i++) {
        fields[i] = put(&at, field_text(body, o->kind->selectable[i], &text));
    }
    o->ns = put(&at, json_str_at(meta, "namespace", ""));
    o->name = put(&at, json_str_at(meta, "name", ""));
    o->uid = put(&at, json_str_at(meta, "uid", ""));
}

static struct object *build(const struct kind *kind, uint64_t rv, const struct json *body,
                            struct slice text)
{
    struct layout l = measure_all(kind, body, json_get(body, "metadata"));
    size_t pointers = l.label_count * sizeof(struct pair) + l.field_count * sizeof(char *);
    size_t size = sizeof(struct object) + pointers + l.string_bytes + text.len + 1;
    struct object *o = mem_alloc(size);
    char *strings = (char *)(o + 1) + pointers;
    char *copy = strings + l.string_bytes;

    ref_init(&o->ref);
    o->kind = kind;
    o->rv = rv;
    o->size = size;
    fill(o, body, &l, strings);
    memcpy(copy, text.p, text.len);
    o->text = (struct slice){copy, text.len};
    return o;
}

struct object *object_new_within(const struct kind *kind, uint64_t rv, const struct json *body,
                                 size_t limit)
{
    AUTO(json) struct json *bare = json_new_object();
    AUTO(strbuf) struct strbuf text = {.limit = limit};

    for (struct json_iter it = {0}; json_each(body, &it);) {
        if (strcmp(it.key, "kind") != 0 && strcmp(it.key, "apiVersion") != 0) {
            json_set(bare, it.key, json_ref(it.value));
        }
    }
    json_print(bare, 0, &text);
    return text.overflow ? NULL
                         : build(kind, rv, body, (struct slice){strbuf_text(&text), text.len});
}

struct object *object_new(const struct kind *kind, uint64_t rv, const struct json *body)
{
    return object_new_within(kind, rv, body, STRBUF_LIMIT);
}

int object_load(const struct kind *kind, uint64_t rv, struct slice text, struct object **out)
{
    AUTO(json) struct json *body = NULL;
    int r = json_parse(&body, text.p, text.len, NULL, NULL);

    if (r < 0) {
        return r;
    }
    if (json_str_at(body, "metadata.name", "")[0] == '\0') {
        return -ERR_SYNTAX;
    }
    *out = build(kind, rv, body, text);
    return 0;
}

struct object *object_ref(struct object *o)
{
    ref_get(&o->ref);
    return o;
}

struct object *object_unref(struct object *o)
{
    if (o && ref_put(&o->ref)) {
        mem_free(o);
    }
    return NULL;
}

struct json *object_parse(const struct object *o, const char *version)
{
    AUTO(strbuf) struct strbuf api_version = {0};
    struct json *body = NULL;

    if (json_parse(&body, o->text.p, o->text.len, NULL, NULL) < 0) {
        return NULL; /* it parsed when it was made: memory is short */
    }
    struct json *whole = json_new_object();
    kind_api_version(o->kind, version, &api_version);
    json_set_str(whole, "kind", o->kind->name);
    json_set_str(whole, "apiVersion", strbuf_text(&api_version));
    for (struct json_iter it = {0}; json_each(body, &it);) {
        json_set(whole, it.key, json_ref(it.value));
    }
    json_unref(body);
    return whole;
}

int object_compare(const struct object *o, const char *ns, const char *name)
{
    int order = strcmp(o->ns, ns);

    return order != 0 ? order : strcmp(o->name, name);
}

const char *object_label(const struct object *o, const char *key)
{
    for (size_t i = 0; i < o->label_count; i++) {
        if (strcmp(o->labels[i].key, key) == 0) {
            return o->labels[i].value;
        }
    }
    return "";
}
