/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PCRE2 knows more than RE2 does, and what it knows more is what can be made to run for ever. So a
 * pattern is read twice: here, to refuse all that RE2's syntax does not have, then by PCRE2. What is
 * left backtracks, and a limit on its steps ends it.
 */
#define PCRE2_CODE_UNIT_WIDTH 8

#include "model/l7_regex.h"

#include <pcre2.h>
#include <string.h>

#include "base/ascii.h"
#include "base/mem.h"
#include "base/ref.h"
#include "model/const_int.h"

enum { DEPTH_MAX = 250, HEAP_MAX_KIB = 512, REPEAT_MAX = 1000, GROUPS_MAX = 100 };

struct l7_regex {
    struct aref refs;
    pcre2_code *code;
    pcre2_match_context *limits;
};

/* ---- the syntax that is accepted */

struct reader {
    const char *start;
    const char *at;
    struct diag *why;
    unsigned last;              /* copies that the repetitions within the last atom make */
    unsigned depth;             /* of groups */
    unsigned inner[GROUPS_MAX]; /* the most copies within each open group */
};

static int refuse(const struct reader *r, const char *what)
{
    return FAIL(r->why, -ERR_SYNTAX, "regular expression at byte %td: %s", r->at - r->start, what);
}

static bool is_one_of(char c, const char *set)
{
    return c != '\0' && strchr(set, c) != NULL;
}

/* Behind a '\' outside of classes. \Q quotes up to \E. */
static int read_escape(struct reader *r)
{
    char c = r->at[1];

    if (c == '\0') {
        return refuse(r, "nothing behind the last \\");
    }
    if (c >= '1' && c <= '9') {
        return refuse(r, "back-references are not allowed");
    }
    if (c == 'Q') {
        const char *end = strstr(r->at + 2, "\\E");
        r->at = end ? end + 2 : r->at + strlen(r->at);
        return 0;
    }
    if (ascii_is_letter(c) && !is_one_of(c, "dDsSwWbBAzafnrtxpP")) {
        return refuse(r, "this escape is not allowed");
    }
    if ((unsigned char)c >= 0x80) {
        return refuse(r, "this escape is not allowed");
    }
    r->at += 2;
    return 0;
}

static int read_class_escape(struct reader *r)
{
    char c = r->at[1];

    if (c == '\0') {
        return refuse(r, "nothing behind the last \\");
    }
    if ((c >= '1' && c <= '9') || (ascii_is_letter(c) && !is_one_of(c, "dDsSwWafnrtxpP"))) {
        return refuse(r, "this escape is not allowed in a class");
    }
    r->at += 2;
    return 0;
}

static int read_class(struct reader *r)
{
    r->at++;
    r->at += *r->at == '^';
    r->at += *r->at == ']'; /* in first place it stands for itself */
    while (*r->at && *r->at != ']') {
        if (*r->at == '\\') {
            int c = read_class_escape(r);
            if (c < 0) {
                return c;
            }
            continue;
        }
        if (r->at[0] == '[' && is_one_of(r->at[1], ".=")) {
            return refuse(r, "collating elements are not allowed");
        }
        if (r->at[0] == '[' && r->at[1] == ':') {
            const char *end = strstr(r->at, ":]");
            r->at = end ? end + 1 : r->at + 1;
        }
        r->at++;
    }
    if (*r->at == '\0') {
        return refuse(r, "a class without ]");
    }
    r->at++;
    return 0;
}

/* "(?flags)" and "(?flags:": only what RE2 has. */
static int read_flags(struct reader *r)
{
    r->at += 2;
    while (is_one_of(*r->at, "imsU-")) {
        r->at++;
    }
    if (*r->at != ':' && *r->at != ')') {
        return refuse(r, "this kind of group is not allowed");
    }
    r->at += *r->at == ':'; /* a ')' is left to close the group */
    return 0;
}

static int open_group(struct reader *r)
{
    if (r->depth + 1 == GROUPS_MAX) {
        return refuse(r, "groups are nested too deep");
    }
    r->inner[++r->depth] = 1;
    return 0;
}

static void keep_most(struct reader *r)
{
    if (r->last > r->inner[r->depth]) {
        r->inner[r->depth] = r->last;
    }
}

static void close_group(struct reader *r)
{
    r->at++;
    if (r->depth > 0) { /* else PCRE2 says what is wrong */
        r->last = r->inner[r->depth--];
        keep_most(r);
    }
}

static int read_group(struct reader *r)
{
    int c = open_group(r);

    if (c < 0) {
        return c;
    }
    if (r->at[1] == '*') {
        return refuse(r, "(* is not allowed");
    }
    if (r->at[1] != '?') {
        r->at++;
        return 0;
    }
    if (r->at[2] == '=' || r->at[2] == '!' ||
        (r->at[2] == '<' && (r->at[3] == '=' || r->at[3] == '!'))) {
        return refuse(r, "look-around is not allowed");
    }
    if (r->at[2] == '>') {
        return refuse(r, "atomic groups are not allowed");
    }
    if (r->at[2] == '<' || (r->at[2] == 'P' && r->at[3] == '<')) {
        const char *end = strchr(r->at, '>');
        if (!end) {
            return refuse(r, "a group's name without >");
        }
        r->at = end + 1;
        return 0;
    }
    return read_flags(r);
}

/* "{n}", "{n,}", "{n,m}"; anything else is text. The end of it, or NULL. */
static const char *repeat_end(const char *s, unsigned *most)
{
    unsigned n[2] = {0, 0};
    unsigned which = 0;
    const char *at = s + 1;

    if (!ascii_is_digit(*at)) {
        return NULL;
    }
    for (; ascii_is_digit(*at) || (*at == ',' && which == 0); at++) {
        if (*at == ',') {
            which = 1;
        } else if (n[which] <= REPEAT_MAX) {
            n[which] = n[which] * 10 + (unsigned)(*at - '0');
        }
    }
    *most = n[0] > n[1] ? n[0] : n[1];
    return *at == '}' ? at + 1 : NULL;
}

static int read_repeat(struct reader *r)
{
    unsigned most = 0;
    const char *end = *r->at == '{' ? repeat_end(r->at, &most) : r->at + 1;

    if (!end) {
        r->at++;
        return 0;
    }
    if (most > REPEAT_MAX || r->last * (most > 0 ? most : 1) > REPEAT_MAX) {
        return refuse(r, "more than 1000 repetitions");
    }
    r->last *= most > 0 ? most : 1;
    keep_most(r);
    r->at = end;
    if (*r->at == '+') {
        return refuse(r, "possessive repetition is not allowed");
    }
    r->at += *r->at == '?';
    if (is_one_of(*r->at, "*+?")) {
        return refuse(r, "a repetition of a repetition");
    }
    return 0;
}

static int check_syntax(const char *pattern, struct diag *why)
{
    struct reader r = {.start = pattern, .at = pattern, .why = why, .last = 1, .inner = {1}};
    int c = 0;

    while (c == 0 && *r.at) {
        if (!is_one_of(*r.at, "*+?{")) {
            r.last = 1;
        }
        switch (*r.at) {
        case '\\':
            c = read_escape(&r);
            break;
        case '[':
            c = read_class(&r);
            break;
        case '(':
            c = read_group(&r);
            break;
        case ')':
            close_group(&r);
            break;
        case '*':
        case '+':
        case '?':
        case '{':
            c = read_repeat(&r);
            break;
        default:
            r.at++;
        }
    }
    return c;
}

/* ---- PCRE2 */

static pcre2_code *compile(const char *pattern, struct diag *why)
{
    uint32_t options = PCRE2_ANCHORED | PCRE2_ENDANCHORED | PCRE2_DOLLAR_ENDONLY | PCRE2_UTF |
                       PCRE2_MATCH_INVALID_UTF | PCRE2_NEVER_BACKSLASH_C | PCRE2_NO_AUTO_CAPTURE;
    pcre2_compile_context *ctx = pcre2_compile_context_create(NULL);
    PCRE2_SIZE at = 0;
    int error = 0;

    if (!ctx) {
        (void)diag_note(why, -ENOMEM, "regular expression");
        return NULL;
    }
    (void)pcre2_set_newline(ctx, PCRE2_NEWLINE_LF);
    (void)pcre2_set_bsr(ctx, PCRE2_BSR_ANYCRLF);
    pcre2_code *code =
        pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED, options, &error, &at, ctx);
    pcre2_compile_context_free(ctx);
    if (!code) {
        PCRE2_UCHAR text[80] = "";
        (void)pcre2_get_error_message(error, text, sizeof(text)); /* cut is good enough */
        (void)diag_note(why, -ERR_SYNTAX, "regular expression at byte %zu: %s", at, (char *)text);
        return NULL;
    }
    (void)pcre2_jit_compile(code, PCRE2_JIT_COMPLETE); /* without it matching is only slower */
    return code;
}

int l7_regex_new(const struct l7_regex **out, const char *pattern, struct diag *why)
{
    size_t len = strlen(pattern);

    if (len > L7_REGEX_PATTERN_MAX) {
        return FAIL(why, -ERR_TOO_LARGE, "regular expression of %zu bytes, at most %d", len,
                    L7_REGEX_PATTERN_MAX);
    }
    int r = check_syntax(pattern, why);
    if (r < 0) {
        return r;
    }
    pcre2_code *code = compile(pattern, why);
    pcre2_match_context *limits = code ? pcre2_match_context_create(NULL) : NULL;
    if (!limits) {
        pcre2_code_free(code);
        return code ? FAIL(why, -ENOMEM, "regular expression") : -ERR_SYNTAX;
    }
    (void)pcre2_set_match_limit(limits, L7_REGEX_STEPS_MAX);
    (void)pcre2_set_depth_limit(limits, DEPTH_MAX);
    (void)pcre2_set_heap_limit(limits, HEAP_MAX_KIB);
    struct l7_regex *x = mem_new(struct l7_regex);
    aref_init(&x->refs);
    x->code = code;
    x->limits = limits;
    *out = x;
    return 0;
}

const struct l7_regex *l7_regex_unref(const struct l7_regex *x)
{
    struct l7_regex *mine = unconst(x);

    if (mine && aref_put(&mine->refs)) {
        pcre2_match_context_free(mine->limits);
        pcre2_code_free(mine->code);
        mem_free(mine);
    }
    return NULL;
}

int l7_regex_match(const struct l7_regex *x, struct slice subject)
{
    if (subject.len > L7_REGEX_SUBJECT_MAX) {
        return -ERR_LIMIT;
    }
    /* One pair: whether it matches is all that is asked. */
    pcre2_match_data *data = pcre2_match_data_create(1, NULL);
    if (!data) {
        return -ERR_LIMIT;
    }
    int r = pcre2_match(x->code, (PCRE2_SPTR)(subject.len > 0 ? subject.p : ""), subject.len, 0, 0,
                        data, x->limits);
    pcre2_match_data_free(data);
    if (r == PCRE2_ERROR_NOMATCH) {
        return 0;
    }
    return r >= 0 ? 1 : -ERR_LIMIT;
}
