/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/schema.h"

#include <string.h>

#include "base/mem.h"
#include "base/num.h"
#include "base/str.h"

enum { MAX_DEPTH = 16, MAX_FIELDS = 96, MAX_CHOICES = 24 };

struct scan {
    const char *at;
    const char *start;
    unsigned depth;
    struct diag *why;
};

static int parse_type(struct scan *c, struct schema *s);

void schema_free(struct schema *s)
{
    if (!s) {
        return;
    }
    for (size_t i = 0; i < s->field_count; i++) {
        schema_free(s->fields[i]);
    }
    for (size_t i = 0; s->choices && s->choices[i]; i++) {
        mem_free(s->choices[i]);
    }
    for (size_t i = 0; s->keys[i]; i++) {
        mem_free(s->keys[i]);
    }
    schema_free(s->items);
    mem_free(s->choices);
    mem_free(s->fields);
    mem_free(s->standard);
    mem_free(s->name);
    mem_free(s);
}

static int wrong(const struct scan *c, const char *expected)
{
    return FAIL(c->why, -ERR_SYNTAX, "schema: expected %s at byte %zu: %.20s", expected,
                (size_t)(c->at - c->start), c->at);
}

static void skip_blanks(struct scan *c)
{
    while (*c->at == ' ') {
        c->at++;
    }
}

static bool accept(struct scan *c, char ch)
{
    bool yes = *c->at == ch;

    c->at += yes;
    return yes;
}

static char *take_until(struct scan *c, const char *stop)
{
    size_t n = strcspn(c->at, stop);
    char *word = mem_dup(c->at, n);

    c->at += n;
    return word;
}

static char *take_name(struct scan *c)
{
    return take_until(c, " !:{}<>[]()=@~+|");
}

static int parse_scalar(struct scan *c, struct schema *s)
{
    static const struct {
        const char *name;
        enum schema_type type;
    } scalars[] = {
        {"string", SCHEMA_STRING}, {"int", SCHEMA_INT},       {"bool", SCHEMA_BOOL},
        {"any", SCHEMA_ANY},       {"number", SCHEMA_NUMBER}, {"intstr", SCHEMA_INT_OR_STRING},
    };
    AUTO(text) char *name = take_name(c);

    for (size_t i = 0; i < ARRAY_LEN(scalars); i++) {
        if (strcmp(name, scalars[i].name) == 0) {
            s->type = scalars[i].type;
            return 0;
        }
    }
    return wrong(c, "a type");
}

static int parse_choices(struct scan *c, struct schema *s)
{
    size_t n = 0;

    s->type = SCHEMA_STRING;
    s->choices = mem_array(MAX_CHOICES + 1, sizeof(char *));
    do {
        if (n == MAX_CHOICES) {
            return wrong(c, "fewer choices");
        }
        s->choices[n++] = take_until(c, "|)");
    } while (accept(c, '|'));
    return accept(c, ')') ? 0 : wrong(c, ")");
}

static int parse_bound(struct scan *c, int64_t *out)
{
    bool minus = accept(c, '-');
    AUTO(text) char *digits = take_until(c, ".)");
    uint64_t n = 0;

    if (num_parse_u64(digits, strlen(digits), INT64_MAX, &n) < 0) {
        return wrong(c, "a bound");
    }
    *out = minus ? -(int64_t)n : (int64_t)n;
    return 0;
}

static int parse_bounds(struct scan *c, struct schema *s)
{
    int r = parse_bound(c, &s->least);

    if (r == 0 && !(accept(c, '.') && accept(c, '.'))) {
        r = wrong(c, "..");
    }
    if (r == 0) {
        r = parse_bound(c, &s->most);
    }
    s->bounded = true;
    return r == 0 && !accept(c, ')') ? wrong(c, ")") : r;
}

static int parse_field(struct scan *c, struct schema *f)
{
    f->name = take_name(c);
    f->type = SCHEMA_STRING;
    if (f->name[0] == '\0') {
        return wrong(c, "a field");
    }
    f->required = accept(c, '!');
    if (accept(c, ':')) {
        return parse_type(c, f);
    }
    if (accept(c, '=')) {
        f->standard = take_until(c, " }>]");
    }
    return 0;
}

/* Up to the closing brace or the end of the text. */
static int parse_fields(struct scan *c, struct schema *s)
{
    s->type = SCHEMA_STRUCT;
    s->fields = mem_array(MAX_FIELDS, sizeof(struct schema *));
    for (skip_blanks(c); *c->at != '}' && *c->at != '\0'; skip_blanks(c)) {
        if (s->field_count == MAX_FIELDS) {
            return wrong(c, "fewer fields");
        }
        struct schema *f = mem_new(struct schema);
        s->fields[s->field_count++] = f;
        int r = parse_field(c, f);
        if (r < 0) {
            return r;
        }
    }
    return 0;
}

static int parse_items(struct scan *c, struct schema *s, enum schema_type type, char close)
{
    const char expected[2] = {close, '\0'};

    s->type = type;
    s->items = mem_new(struct schema);
    int r = parse_type(c, s->items);
    return r == 0 && !accept(c, close) ? wrong(c, expected) : r;
}

static int parse_keys(struct scan *c, struct schema *s)
{
    size_t n = 0;

    s->is_set = accept(c, '*');
    if (s->is_set) {
        return 0;
    }
    do {
        if (n == SCHEMA_KEYS) {
            return wrong(c, "fewer keys");
        }
        s->keys[n] = take_name(c);
        if (s->keys[n++][0] == '\0') {
            return wrong(c, "a key");
        }
    } while (accept(c, '+'));
    return 0;
}

static int parse_suffixes(struct scan *c, struct schema *s)
{
    int r = accept(c, '@') ? parse_keys(c, s) : 0;

    s->atomic = accept(c, '~');
    s->make = accept(c, '+');
    if (r == 0 && accept(c, '=')) {
        s->standard = take_until(c, " }>]");
    }
    return r;
}

static int parse_shape(struct scan *c, struct schema *s)
{
    int r = 0;

    if (accept(c, '{')) {
        r = parse_fields(c, s);
        return r == 0 && !accept(c, '}') ? wrong(c, "}") : r;
    }
    if (accept(c, '[')) {
        return parse_items(c, s, SCHEMA_LIST, ']');
    }
    if (accept(c, '<')) {
        return parse_items(c, s, SCHEMA_MAP, '>');
    }
    if (accept(c, '(')) {
        return parse_choices(c, s);
    }
    r = parse_scalar(c, s);
    return r == 0 && accept(c, '(') ? parse_bounds(c, s) : r;
}

static int parse_type(struct scan *c, struct schema *s)
{
    if (++c->depth > MAX_DEPTH) {
        return wrong(c, "less depth");
    }
    int r = parse_shape(c, s);
    c->depth--;
    return r < 0 ? r : parse_suffixes(c, s);
}

int schema_parse(const char *text, struct diag *why, struct schema **out)
{
    struct scan c = {.at = text, .start = text, .why = why};
    AUTO(schema) struct schema *s = mem_new(struct schema);
    int r = parse_fields(&c, s);

    if (r == 0 && *c.at != '\0') {
        r = wrong(&c, "the end");
    }
    if (r < 0) {
        return r;
    }
    *out = MOVE(s);
    return 0;
}

const struct schema *schema_field(const struct schema *s, const char *name)
{
    for (size_t i = 0; s && i < s->field_count; i++) {
        if (strcmp(s->fields[i]->name, name) == 0) {
            return s->fields[i];
        }
    }
    return NULL;
}

const struct schema *schema_child(const struct schema *s, const char *name)
{
    if (!s) {
        return NULL;
    }
    return s->type == SCHEMA_STRUCT ? schema_field(s, name) : s->items;
}
