/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/selector.h"

#include <string.h>

#include "apiserver/kind.h"
#include "apiserver/object.h"
#include "base/mem.h"
#include "base/num.h"

enum op { OP_EXISTS, OP_ABSENT, OP_IN, OP_NOT_IN, OP_GREATER, OP_LESS };

enum { FIELD_NONE = -1, FIELD_NAME = -2, FIELD_NAMESPACE = -3 };

struct term {
    const char *key;
    enum op op;
    int field;    /* field selectors: an index into kind->selectable or one of the above */
    size_t first; /* of values */
    size_t count;
    int64_t bound;
};

struct selector {
    bool of_fields;
    size_t term_count;
    size_t value_count;
    struct term terms[SELECTOR_TERMS];
    const char *values[SELECTOR_TERMS];
    size_t used;
    char text[]; /* keys and values, each terminated */
};

/* Token by token; what the parser looks at stands in word. */
struct scan {
    struct slice rest;
    struct slice word;
    struct selector *s;
    struct diag *why;
};

static struct selector *selector_new(struct slice text, bool of_fields)
{
    /* Each key and value is copied with a terminator; there are at most len + 1 of each kind. */
    struct selector *s = mem_alloc(sizeof(*s) + 3 * (text.len + 2));

    s->of_fields = of_fields;
    return s;
}

void selector_free(struct selector *s)
{
    mem_free(s);
}

static const char *keep(struct selector *s, struct slice word)
{
    char *at = s->text + s->used;

    if (word.len > 0) {
        memcpy(at, word.p, word.len);
    }
    at[word.len] = '\0';
    s->used += word.len + 1;
    return at;
}

static bool is_special(char c)
{
    return memchr("=!(),<>", c, 7) != NULL;
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static size_t token_length(struct slice t)
{
    size_t n = 0;

    if (t.len >= 2 && (memcmp(t.p, "==", 2) == 0 || memcmp(t.p, "!=", 2) == 0)) {
        return 2;
    }
    if (t.len > 0 && is_special(t.p[0])) {
        return 1;
    }
    while (n < t.len && !is_special(t.p[n]) && !is_space(t.p[n])) {
        n++;
    }
    return n;
}

static void advance(struct scan *c)
{
    while (c->rest.len > 0 && is_space(c->rest.p[0])) {
        c->rest.p++;
        c->rest.len--;
    }
    size_t n = token_length(c->rest);
    c->word = (struct slice){c->rest.p, n};
    c->rest.p += n;
    c->rest.len -= n;
}

static bool at_end(const struct scan *c)
{
    return c->word.len == 0;
}

static bool is_word(struct slice t)
{
    return t.len > 0 && !is_special(t.p[0]);
}

static int unexpected(const struct scan *c, const char *expected)
{
    return FAIL(c->why, -ERR_SYNTAX, "unable to parse requirement: found '%.*s', expected: %s",
                (int)MIN_OF(c->word.len, (size_t)24), c->word.p ? c->word.p : "", expected);
}

static int add_value(struct scan *c, struct term *t, struct slice value)
{
    if (c->s->value_count == SELECTOR_TERMS) {
        return FAIL(c->why, -ERR_LIMIT, "unable to parse requirement: too many values");
    }
    c->s->values[c->s->value_count++] = keep(c->s, value);
    t->count++;
    return 0;
}

/* Behind "in" or "notin": (a, b,) - an empty place is the empty value. */
static int parse_set(struct scan *c, struct term *t)
{
    if (!slice_is(c->word, "(")) {
        return unexpected(c, "'('");
    }
    do {
        advance(c);
        struct slice value = {c->word.p, 0};
        if (is_word(c->word)) {
            value = c->word;
            advance(c);
        }
        int r = add_value(c, t, value);
        if (r < 0) {
            return r;
        }
    } while (slice_is(c->word, ","));
    if (!slice_is(c->word, ")")) {
        return unexpected(c, "',' or ')'");
    }
    advance(c);
    return 0;
}

/* Behind = == !=: one value, possibly none. */
static int parse_exact(struct scan *c, struct term *t)
{
    struct slice value = {c->word.p, 0};

    if (is_word(c->word)) {
        value = c->word;
        advance(c);
    }
    return add_value(c, t, value);
}

static int parse_integer(struct slice t, int64_t *out)
{
    bool minus = t.len > 0 && t.p[0] == '-';
    uint64_t n = 0;
    int r = num_parse_u64(t.p + minus, t.len - minus, INT64_MAX, &n);

    if (r == 0) {
        *out = minus ? -(int64_t)n : (int64_t)n;
    }
    return r;
}

static int parse_bound(struct scan *c, struct term *t)
{
    if (!is_word(c->word) || parse_integer(c->word, &t->bound) < 0) {
        return FAIL(
            c->why, -ERR_SYNTAX,
            "unable to parse requirement: for 'Gt', 'Lt' operators, the value must be an integer");
    }
    advance(c);
    return 0;
}

static int parse_operator(struct scan *c, struct term *t)
{
    static const struct {
        const char *text;
        enum op op;
        int (*values)(struct scan *c, struct term *t);
    } operators[] = {
        {"=", OP_IN, parse_exact},       {"==", OP_IN, parse_exact},
        {"!=", OP_NOT_IN, parse_exact},  {"in", OP_IN, parse_set},
        {"notin", OP_NOT_IN, parse_set}, {">", OP_GREATER, parse_bound},
        {"<", OP_LESS, parse_bound},
    };

    if (at_end(c) || slice_is(c->word, ",")) {
        t->op = OP_EXISTS;
        return 0;
    }
    for (size_t i = 0; i < ARRAY_LEN(operators); i++) {
        if (slice_is(c->word, operators[i].text)) {
            t->op = operators[i].op;
            advance(c);
            return operators[i].values(c, t);
        }
    }
    return unexpected(c, "in, notin, =, ==, !=, gt, lt");
}

static int parse_term(struct scan *c)
{
    bool absent = slice_is(c->word, "!");

    if (c->s->term_count == SELECTOR_TERMS) {
        return FAIL(c->why, -ERR_LIMIT, "unable to parse requirement: too many of them");
    }
    if (absent) {
        advance(c);
    }
    if (!is_word(c->word)) {
        return unexpected(c, "!, identifier, or 'end of string'");
    }
    struct term *t = &c->s->terms[c->s->term_count++];
    *t = (struct term){.key = keep(c->s, c->word), .field = FIELD_NONE, .first = c->s->value_count};
    advance(c);
    if (absent) {
        t->op = OP_ABSENT;
        return 0;
    }
    return parse_operator(c, t);
}

int selector_parse_labels(struct slice text, struct diag *why, struct selector **out)
{
    if (slice_trim(text).len == 0) {
        *out = NULL;
        return 0;
    }
    if (text.len > SELECTOR_TEXT) {
        return FAIL(why, -ERR_TOO_LARGE, "unable to parse requirement: longer than %d bytes",
                    SELECTOR_TEXT);
    }
    AUTO(selector) struct selector *s = selector_new(text, false);
    struct scan c = {.rest = text, .s = s, .why = why};
    advance(&c);
    for (;;) {
        int r = parse_term(&c);
        if (r < 0) {
            return r;
        }
        if (at_end(&c)) {
            break;
        }
        if (!slice_is(c.word, ",")) {
            return unexpected(&c, "',' or 'end of string'");
        }
        advance(&c);
    }
    *out = MOVE(s);
    return 0;
}

static int field_index(const struct kind *kind, struct slice field, int *out)
{
    if (slice_is(field, "metadata.name")) {
        *out = FIELD_NAME;
        return 0;
    }
    if (slice_is(field, "metadata.namespace")) {
        *out = FIELD_NAMESPACE;
        return 0;
    }
    for (int i = 0; kind->selectable[i]; i++) {
        if (slice_is(field, kind->selectable[i])) {
            *out = i;
            return 0;
        }
    }
    return -ERR_NOT_FOUND;
}

/* key=value, key==value, key!=value. */
static bool split_field(struct slice text, struct slice *key, struct slice *value, enum op *op)
{
    if (!slice_cut(text, '=', key, value)) {
        return false;
    }
    *op = OP_IN;
    if (key->len > 0 && key->p[key->len - 1] == '!') {
        *op = OP_NOT_IN;
        key->len--;
    } else if (value->len > 0 && value->p[0] == '=') {
        value->p++;
        value->len--;
    }
    return key->len > 0;
}

static int add_field(struct selector *s, const struct kind *kind, struct slice text,
                     struct diag *why)
{
    struct term t = {.first = s->value_count, .count = 1};
    struct slice key;
    struct slice value;

    if (!split_field(text, &key, &value, &t.op)) {
        return FAIL(why, -ERR_SYNTAX, "invalid selector: '%.*s'; can't understand '%.*s'",
                    (int)MIN_OF(text.len, (size_t)40), text.p, (int)MIN_OF(text.len, (size_t)40),
                    text.p);
    }
    if (field_index(kind, key, &t.field) < 0) {
        return FAIL(why, -ERR_UNSUPPORTED, "field label not supported: %.*s",
                    (int)MIN_OF(key.len, (size_t)80), key.p);
    }
    if (s->term_count == SELECTOR_TERMS) {
        return FAIL(why, -ERR_LIMIT, "invalid selector: too many requirements");
    }
    t.key = keep(s, key);
    s->values[s->value_count++] = keep(s, value);
    s->terms[s->term_count++] = t;
    return 0;
}

int selector_parse_fields(const struct kind *kind, struct slice text, struct diag *why,
                          struct selector **out)
{
    struct slice part;
    struct slice rest = text;
    bool more = true;

    if (text.len == 0) {
        *out = NULL;
        return 0;
    }
    if (text.len > SELECTOR_TEXT) {
        return FAIL(why, -ERR_TOO_LARGE, "invalid selector: longer than %d bytes", SELECTOR_TEXT);
    }
    AUTO(selector) struct selector *s = selector_new(text, true);
    while (more) {
        more = slice_cut(rest, ',', &part, &rest);
        int r = part.len > 0 ? add_field(s, kind, part, why) : 0;
        if (r < 0) {
            return r;
        }
    }
    *out = MOVE(s);
    return 0;
}

static const char *label_value(const struct object *o, const char *key)
{
    for (size_t i = 0; i < o->label_count; i++) {
        if (strcmp(o->labels[i].key, key) == 0) {
            return o->labels[i].value;
        }
    }
    return NULL;
}

static const char *field_value(const struct object *o, int field)
{
    return field == FIELD_NAME ? o->name : field == FIELD_NAMESPACE ? o->ns : o->fields[field];
}

static bool is_listed(const struct selector *s, const struct term *t, const char *value)
{
    for (size_t i = 0; value && i < t->count; i++) {
        if (strcmp(s->values[t->first + i], value) == 0) {
            return true;
        }
    }
    return false;
}

static bool term_matches(const struct selector *s, const struct term *t, const char *value)
{
    int64_t n = 0;

    switch (t->op) {
    case OP_EXISTS:
        return value != NULL;
    case OP_ABSENT:
        return value == NULL;
    case OP_IN:
        return is_listed(s, t, value);
    case OP_NOT_IN:
        return !is_listed(s, t, value);
    case OP_GREATER:
        return value && parse_integer(slice_of(value), &n) == 0 && n > t->bound;
    case OP_LESS:
        return value && parse_integer(slice_of(value), &n) == 0 && n < t->bound;
    }
    return false;
}

bool selector_matches(const struct selector *s, const struct object *o)
{
    for (size_t i = 0; s && i < s->term_count; i++) {
        const struct term *t = &s->terms[i];
        if (!term_matches(s, t, s->of_fields ? field_value(o, t->field) : label_value(o, t->key))) {
            return false;
        }
    }
    return true;
}

const char *selector_wants(const struct selector *s, const char *field)
{
    for (size_t i = 0; s && i < s->term_count; i++) {
        const struct term *t = &s->terms[i];
        if (t->op == OP_IN && t->count == 1 && strcmp(t->key, field) == 0) {
            return s->values[t->first];
        }
    }
    return NULL;
}
