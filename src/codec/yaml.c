/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The parser's events are built into values with an explicit stack, so that depth is a number and
 * not the machine's stack. Every value is charged to the document's budget before it exists; an
 * alias is charged with all it stands for before it is copied.
 */
#include "codec/yaml.h"

#include <yaml.h>

#include "base/map.h"
#include "base/mem.h"
#include "codec/yaml_scalar_int.h"

struct anchor {
    struct map_node by_name;
    struct json *value; /* NULL while the value is being read: then it cannot be an alias yet */
    size_t cost;
    char name[];
};

/* A collection that is open. */
struct level {
    struct json *value; /* one reference, until it is put into the level above */
    char *key;          /* of a mapping whose value comes next; NULL: a key comes next */
    struct json *merge; /* array of the mappings that "<<" named; NULL: none */
    struct anchor *anchor;
    size_t cost_before; /* of the document when this level began */
    bool key_is_merge;
};

struct yaml_reader {
    yaml_parser_t parser;
    struct level level[YAML_DEPTH_MAX];
    unsigned depth;
    struct json *root; /* complete once depth is 0 */
    struct map anchors;
    size_t cost; /* of this document, see YAML_BUDGET */
    size_t line;
    char *twice; /* of this document: the first key that its mapping had already */
    size_t twice_line;
    int failed;
};

int yaml_reader_new(struct yaml_reader **out, const char *text, size_t len, struct diag *why)
{
    if (len > YAML_BYTES_MAX) {
        return FAIL(why, -ERR_TOO_LARGE, "YAML of %zu bytes, at most %d", len, YAML_BYTES_MAX);
    }
    AUTO(yaml_reader) struct yaml_reader *y = mem_new(struct yaml_reader);
    if (!yaml_parser_initialize(&y->parser)) {
        return FAIL(why, -ENOMEM, "start YAML parser");
    }
    yaml_parser_set_input_string(&y->parser, (const unsigned char *)(text ? text : ""), len);
    map_init(&y->anchors);
    *out = MOVE(y);
    return 0;
}

static void level_clear(struct level *l)
{
    json_unref(l->value);
    json_unref(l->merge);
    mem_free(l->key);
    *l = (struct level){.value = NULL};
}

/* Between documents: anchors do not reach from one into the next. */
static void reset(struct yaml_reader *y)
{
    while (y->depth > 0) {
        level_clear(&y->level[--y->depth]);
    }
    y->root = json_unref(y->root);
    map_for_each (n, &y->anchors) {
        struct anchor *a = container_of(n, struct anchor, by_name);
        json_unref(a->value);
        mem_free(a);
    }
    map_fini(&y->anchors);
    y->cost = 0;
    mem_free(y->twice);
    y->twice = NULL;
}

void yaml_reader_free(struct yaml_reader *y)
{
    if (y) {
        reset(y);
        yaml_parser_delete(&y->parser);
        mem_free(y);
    }
}

size_t yaml_reader_line(const struct yaml_reader *y)
{
    return y->line;
}

/* ---- failing with a place */

static int fail_at(const yaml_mark_t *at, int code, const char *what, struct diag *why)
{
    return FAIL(why, code, "YAML line %zu column %zu: %s", at->line + 1, at->column + 1, what);
}

static int fail_parser(const yaml_parser_t *p, struct diag *why)
{
    const char *what = p->problem ? p->problem : "does not parse";

    if (p->error == YAML_MEMORY_ERROR) {
        return FAIL(why, -ENOMEM, "read YAML");
    }
    if (p->error == YAML_READER_ERROR) {
        return FAIL(why, -ERR_SYNTAX, "YAML byte %zu: %s", p->problem_offset, what);
    }
    return fail_at(&p->problem_mark, -ERR_SYNTAX, what, why);
}

/* ---- anchors */

static struct anchor *find_anchor(const struct yaml_reader *y, const char *name)
{
    uint64_t h = map_hash_str(name);

    for (struct map_node *n = map_find(&y->anchors, h); n; n = map_find_next(n)) {
        struct anchor *a = container_of(n, struct anchor, by_name);
        if (strcmp(a->name, name) == 0) {
            return a;
        }
    }
    return NULL;
}

/* The anchor of a value that begins now; one of the same name is forgotten. NULL: too many. */
static struct anchor *begin_anchor(struct yaml_reader *y, const char *name)
{
    struct anchor *a = find_anchor(y, name);

    if (!a) {
        if (y->anchors.count == YAML_ANCHORS_MAX) {
            return NULL;
        }
        a = mem_alloc(sizeof(*a) + strlen(name) + 1);
        memcpy(a->name, name, strlen(name));
        map_insert(&y->anchors, &a->by_name, map_hash_str(name));
    }
    a->value = json_unref(a->value);
    return a;
}

/* ---- putting values in their place */

static bool charge(struct yaml_reader *y, size_t cost)
{
    if (cost > YAML_BUDGET - y->cost) {
        return false;
    }
    y->cost += cost;
    return true;
}

static size_t text_cost(size_t len)
{
    return 1 + len / 64;
}

/* The text of a scalar that stands as a key; NULL: it cannot be one. The caller's. */
static char *key_text(struct json *value)
{
    AUTO(strbuf) struct strbuf b = {0};
    enum json_kind kind = json_kind(value);

    if (kind == JSON_KIND_STRING) {
        return mem_strdup(json_str(value, ""));
    }
    if (kind == JSON_KIND_NULL || kind == JSON_KIND_ARRAY || kind == JSON_KIND_OBJECT) {
        return NULL;
    }
    json_print(value, 0, &b);
    return strbuf_take(&b);
}

static int put_merge(struct level *l, struct json *take_value)
{
    AUTO(json) struct json *v = take_value;

    if (!l->merge) {
        l->merge = json_new_array();
    }
    if (json_is_obj(v)) {
        json_append(l->merge, MOVE(v));
        return 0;
    }
    for (size_t i = 0; i < json_count(v); i++) {
        if (!json_is_obj(json_item(v, i))) {
            return -ERR_SYNTAX;
        }
        json_append(l->merge, json_ref(json_item(v, i)));
    }
    return json_is_arr(v) ? 0 : -ERR_SYNTAX;
}

/* Into the open collection, or as the root. is_merge: a plain "<<". */
static int put(struct yaml_reader *y, struct json *take_value, bool is_merge)
{
    AUTO(json) struct json *v = take_value;
    struct level *l = y->depth > 0 ? &y->level[y->depth - 1] : NULL;

    if (!l) {
        y->root = MOVE(v);
    } else if (json_is_arr(l->value)) {
        json_append(l->value, MOVE(v));
    } else if (!l->key) {
        l->key = key_text(v);
        l->key_is_merge = is_merge;
        return l->key ? 0 : -ERR_SYNTAX;
    } else {
        AUTO(text) char *key = MOVE(l->key);
        if (l->key_is_merge) {
            return put_merge(l, MOVE(v));
        }
        json_set(l->value, key, MOVE(v));
    }
    return 0;
}

/* ---- events */

static const char *short_tag(const yaml_char_t *tag)
{
    static const char prefix[] = "tag:yaml.org,2002:";
    const char *t = (const char *)tag;

    if (!t || strcmp(t, "!") == 0) {
        return "";
    }
    return strncmp(t, prefix, sizeof(prefix) - 1) == 0 ? t + sizeof(prefix) - 1 : "unknown";
}

/* What the tag demands of the value it resolved to. */
static bool tag_fits(const char *tag, const struct json *v)
{
    static const struct {
        const char *tag;
        enum json_kind kind;
    } kinds[] = {{"int", JSON_KIND_INT},
                 {"bool", JSON_KIND_BOOL},
                 {"null", JSON_KIND_NULL},
                 {"float", JSON_KIND_REAL},
                 {"timestamp", JSON_KIND_STRING}};

    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        if (strcmp(tag, kinds[i].tag) == 0) {
            return json_kind(v) == kinds[i].kind ||
                   (kinds[i].kind == JSON_KIND_REAL && json_kind(v) == JSON_KIND_INT);
        }
    }
    return tag[0] == '\0';
}

static int scalar_value(struct json **out, const yaml_event_t *e, struct diag *why)
{
    const char *text = (const char *)e->data.scalar.value;
    size_t len = e->data.scalar.length;
    const char *tag = short_tag(e->data.scalar.tag);

    if (memchr(text, '\0', len)) {
        return fail_at(&e->start_mark, -ERR_SYNTAX, "NUL in a string", why);
    }
    if (strcmp(tag, "str") == 0 ||
        (e->data.scalar.quoted_implicit && !e->data.scalar.plain_implicit)) {
        *out = json_new_strn(text, len);
        return 0;
    }
    AUTO(json) struct json *v = yaml_scalar_value(text, len);
    if (!v) {
        return fail_at(&e->start_mark, -ERR_SYNTAX, "number is not finite", why);
    }
    if (!tag_fits(tag, v)) {
        return fail_at(&e->start_mark, -ERR_SYNTAX, "value does not fit its tag", why);
    }
    *out = MOVE(v);
    return 0;
}

/* After a scalar has been put, as a key that is there already: the last one wins, which may not be what
 * was meant. */
static void note_twice(struct yaml_reader *y, size_t line)
{
    const struct level *l = y->depth > 0 ? &y->level[y->depth - 1] : NULL;

    if (l && l->key && !l->key_is_merge && !y->twice && json_get(l->value, l->key)) {
        y->twice = mem_strdup(l->key);
        y->twice_line = line;
    }
}

static int on_scalar(struct yaml_reader *y, const yaml_event_t *e, struct diag *why)
{
    const char *anchor = (const char *)e->data.scalar.anchor;
    bool is_merge = e->data.scalar.plain_implicit && e->data.scalar.length == 2 &&
                    memcmp(e->data.scalar.value, "<<", 2) == 0;
    size_t cost = text_cost(e->data.scalar.length);
    struct json *v;
    int r;

    if (!charge(y, cost)) {
        return fail_at(&e->start_mark, -ERR_TOO_LARGE, "too many values", why);
    }
    r = scalar_value(&v, e, why);
    if (r < 0) {
        return r;
    }
    if (anchor) {
        struct anchor *a = begin_anchor(y, anchor);
        if (!a) {
            json_unref(v);
            return fail_at(&e->start_mark, -ERR_TOO_LARGE, "too many anchors", why);
        }
        a->value = json_ref(v);
        a->cost = cost;
    }
    if (put(y, v, is_merge) < 0) {
        return fail_at(&e->start_mark, -ERR_SYNTAX, "not a usable key", why);
    }
    note_twice(y, e->start_mark.line + 1);
    return 0;
}

static int on_alias(struct yaml_reader *y, const yaml_event_t *e, struct diag *why)
{
    struct anchor *a = find_anchor(y, (const char *)e->data.alias.anchor);

    if (!a || !a->value) {
        return fail_at(&e->start_mark, -ERR_SYNTAX, "alias without its anchor", why);
    }
    if (!charge(y, a->cost)) {
        return fail_at(&e->start_mark, -ERR_TOO_LARGE, "aliases expand to too many values", why);
    }
    return put(y, json_clone(a->value), false) < 0
               ? fail_at(&e->start_mark, -ERR_SYNTAX, "not a usable key", why)
               : 0;
}

/* take_value: the empty collection. */
static int on_open(struct yaml_reader *y, const yaml_event_t *e, struct json *take_value,
                   const yaml_char_t *anchor, struct diag *why)
{
    struct level *l = &y->level[y->depth];

    if (y->depth == YAML_DEPTH_MAX || !charge(y, 1)) {
        json_unref(take_value);
        return fail_at(&e->start_mark, -ERR_TOO_LARGE, "nested too deep, or too many values", why);
    }
    *l = (struct level){.value = take_value, .cost_before = y->cost - 1};
    y->depth++;
    if (anchor) {
        l->anchor = begin_anchor(y, (const char *)anchor);
        if (!l->anchor) {
            return fail_at(&e->start_mark, -ERR_TOO_LARGE, "too many anchors", why);
        }
    }
    return 0;
}

/* What "<<" brought stands in for keys that are not there; earlier mappings win. */
static void apply_merge(struct level *l)
{
    for (size_t i = 0; i < json_count(l->merge); i++) {
        for (struct json_iter it = {0}; json_each(json_item(l->merge, i), &it);) {
            if (!json_get(l->value, it.key)) {
                json_set(l->value, it.key, json_clone(it.value));
            }
        }
    }
}

static int on_close(struct yaml_reader *y, const yaml_event_t *e, struct diag *why)
{
    struct level *l = &y->level[--y->depth];
    struct json *v;

    apply_merge(l);
    if (l->anchor) {
        json_unref(l->anchor->value); /* an inner value had the same name */
        l->anchor->value = json_ref(l->value);
        l->anchor->cost = y->cost - l->cost_before;
    }
    v = MOVE(l->value);
    level_clear(l);
    return put(y, v, false) < 0 ? fail_at(&e->start_mark, -ERR_SYNTAX, "not a usable key", why) : 0;
}

/* 1: a document is complete; 2: the stream is; 0: go on. */
enum { GO_ON = 0, DOCUMENT = 1, STREAM = 2 };

static int on_event(struct yaml_reader *y, const yaml_event_t *e, struct diag *why)
{
    switch ((int)e->type) {
    case YAML_SCALAR_EVENT:
        return on_scalar(y, e, why);
    case YAML_ALIAS_EVENT:
        return on_alias(y, e, why);
    case YAML_SEQUENCE_START_EVENT:
        return on_open(y, e, json_new_array(), e->data.sequence_start.anchor, why);
    case YAML_MAPPING_START_EVENT:
        return on_open(y, e, json_new_object(), e->data.mapping_start.anchor, why);
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT:
        return on_close(y, e, why);
    case YAML_DOCUMENT_START_EVENT:
        y->line = e->start_mark.line + 1;
        return GO_ON;
    case YAML_DOCUMENT_END_EVENT:
        return DOCUMENT;
    case YAML_STREAM_END_EVENT:
        return STREAM;
    default:
        return GO_ON; /* the start of the stream */
    }
}

static int read_document(struct yaml_reader *y, struct diag *why)
{
    int r = GO_ON;

    while (r == GO_ON) {
        yaml_event_t e;
        if (!yaml_parser_parse(&y->parser, &e)) {
            return fail_parser(&y->parser, why);
        }
        r = on_event(y, &e, why);
        yaml_event_delete(&e);
    }
    return r;
}

const char *yaml_reader_twice(const struct yaml_reader *y, size_t *out_line)
{
    *out_line = y->twice_line;
    return y->twice;
}

int yaml_reader_next(struct yaml_reader *y, struct json **out, struct diag *why)
{
    int r;

    if (y->failed < 0) {
        return y->failed;
    }
    reset(y);
    r = read_document(y, why);
    if (r < 0) {
        y->failed = r;
        return r;
    }
    if (r == STREAM) {
        return 0;
    }
    *out = y->root ? MOVE(y->root) : json_new_null();
    return 1;
}

int yaml_parse_all(struct json **out, const char *text, size_t len, struct diag *why)
{
    AUTO(json) struct json *all = json_new_array();
    struct json *document;
    AUTO(yaml_reader) struct yaml_reader *y = NULL;
    int r = yaml_reader_new(&y, text, len, why);

    while (r >= 0 && (r = yaml_reader_next(y, &document, why)) > 0) {
        if (json_kind(document) == JSON_KIND_NULL) {
            json_unref(document);
        } else {
            json_append(all, document);
        }
    }
    if (r < 0) {
        return r;
    }
    *out = MOVE(all);
    return 0;
}
