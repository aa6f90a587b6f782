/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/finding.h"

#include <strings.h>

#include "base/mem.h"
#include "base/num.h"
#include "cli/term.h"
#include "cli/wrap.h"
#include "codec/json.h"

static const struct about {
    const char *code;
    enum level level;
    const char *title;
    const char *text;
} about[] = {
#define FINDING_ROW(code, level, title, text) [FINDING_##code] = {#code, level, title, text},
    FINDING_TABLE(FINDING_ROW)
#undef FINDING_ROW
};

static const struct {
    const char *name;
    const char *sign;
    enum style style;
} levels[] = {
    [LEVEL_OK] = {"ok", "OK", STYLE_GOOD},
    [LEVEL_WARN] = {"warning", "WARNING", STYLE_WARN},
    [LEVEL_BAD] = {"problem", "PROBLEM", STYLE_BAD},
    [LEVEL_UNKNOWN] = {"unknown", "UNKNOWN", STYLE_BAD},
};

enum { EVIDENCE_MAX = 20 }; /* lines shown of one finding; JSON has them all */

struct finding {
    struct list in_findings;
    enum finding_code code;
    char *text;
    char *fix; /* NULL = none */
    struct json *evidence;
};

void findings_init(struct findings *f)
{
    list_init(&f->all);
}

void findings_fini(struct findings *f)
{
    list_for_each_safe (n, &f->all) {
        struct finding *x = container_of(n, struct finding, in_findings);
        list_remove(n);
        mem_free(x->text);
        mem_free(x->fix);
        json_unref(x->evidence);
        mem_free(x);
    }
}

PRINTF_LIKE(1, 0) static char *format(const char *fmt, va_list ap)
{
    struct strbuf b = {0};

    strbuf_vprintf(&b, fmt, ap);
    return strbuf_take(&b);
}

struct finding *findings_add(struct findings *f, enum finding_code code, const char *fmt, ...)
{
    struct finding *x = mem_new(struct finding);
    va_list ap;

    va_start(ap, fmt);
    x->text = format(fmt, ap);
    va_end(ap);
    x->code = code;
    x->evidence = json_new_array();
    list_append(&f->all, &x->in_findings);
    return x;
}

void finding_evidence(struct finding *x, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    AUTO(text) char *line = format(fmt, ap);
    va_end(ap);
    json_append_str(x->evidence, line);
}

void finding_fix(struct finding *x, const char *fmt, ...)
{
    va_list ap;

    mem_free(x->fix);
    va_start(ap, fmt);
    x->fix = format(fmt, ap);
    va_end(ap);
}

void findings_put_fixes(struct findings *f, const void *ctx,
                        void (*put)(const void *ctx, const char *fix, struct strbuf *out))
{
    list_for_each (it, &f->all) {
        struct finding *x = container_of(it, struct finding, in_findings);
        if (x->fix) {
            struct strbuf b = {0};
            put(ctx, x->fix, &b);
            mem_free(x->fix);
            x->fix = strbuf_take(&b);
        }
    }
}

/* ---- the whole */

unsigned findings_count(const struct findings *f, enum level level)
{
    unsigned n = 0;

    list_for_each (it, &f->all) {
        n += about[container_of(it, struct finding, in_findings)->code].level == level;
    }
    return n;
}

static enum level worst(const struct findings *f)
{
    enum level level = LEVEL_OK;

    list_for_each (it, &f->all) {
        level = MAX_OF(level, about[container_of(it, struct finding, in_findings)->code].level);
    }
    return level;
}

/* A known problem is a "no", whatever else could not be found out. */
enum answer findings_answer(const struct findings *f, bool strict)
{
    if (findings_count(f, LEVEL_BAD) > 0) {
        return ANSWER_NO;
    }
    if (findings_count(f, LEVEL_UNKNOWN) > 0) {
        return ANSWER_UNKNOWN;
    }
    return strict && findings_count(f, LEVEL_WARN) > 0 ? ANSWER_NO : ANSWER_YES;
}

const char *findings_verdict(const struct findings *f)
{
    return levels[worst(f)].name;
}

void findings_headline(const struct findings *f, bool colour, struct strbuf *out)
{
    enum level level = worst(f);

    style_put(out, colour, levels[level].style, levels[level].sign);
}

static void print_one(const struct finding *x, bool colour, struct strbuf *out)
{
    const struct about *a = &about[x->code];
    size_t count = json_count(x->evidence);

    style_put(out, colour, levels[a->level].style, levels[a->level].sign);
    strbuf_printf(out, " %s: %s\n", a->code, x->text);
    for (size_t i = 0; i < MIN_OF(count, (size_t)EVIDENCE_MAX); i++) {
        strbuf_printf(out, "    %s\n", json_str(json_item(x->evidence, i), ""));
    }
    if (count > EVIDENCE_MAX) {
        strbuf_printf(out, "    and %zu more (-o json shows all)\n", count - EVIDENCE_MAX);
    }
    if (x->fix) {
        strbuf_printf(out, "    fix: %s\n", x->fix);
    }
}

void findings_print(const struct findings *f, bool colour, struct strbuf *out)
{
    static const enum level order[] = {LEVEL_BAD, LEVEL_UNKNOWN, LEVEL_WARN};

    for (size_t i = 0; i < ARRAY_LEN(order); i++) {
        list_for_each (it, &f->all) {
            const struct finding *x = container_of(it, struct finding, in_findings);
            if (about[x->code].level == order[i]) {
                print_one(x, colour, out);
            }
        }
    }
}

struct json *findings_to_json(const struct findings *f)
{
    struct json *all = json_new_array();

    list_for_each (it, &f->all) {
        const struct finding *x = container_of(it, struct finding, in_findings);
        struct json *one = json_new_object();
        json_set_str(one, "code", about[x->code].code);
        json_set_str(one, "level", levels[about[x->code].level].name);
        json_set_str(one, "title", about[x->code].title);
        json_set_str(one, "text", x->text);
        json_set(one, "evidence", json_ref(x->evidence));
        if (x->fix) {
            json_set_str(one, "fix", x->fix);
        }
        json_append(all, one);
    }
    return all;
}

/* ---- explanations */

bool finding_explain(const char *code, struct strbuf *out)
{
    for (size_t i = 0; i < ARRAY_LEN(about); i++) {
        if (strcasecmp(about[i].code, code) == 0) {
            strbuf_printf(out, "%s (%s): %s\n\n", about[i].code, levels[about[i].level].name,
                          about[i].title);
            wrap_text(about[i].text, 0, 80, out);
            return true;
        }
    }
    return false;
}

void finding_index(struct strbuf *out)
{
    for (size_t i = 0; i < ARRAY_LEN(about); i++) {
        strbuf_printf(out, "  %s  %-8s %s\n", about[i].code, levels[about[i].level].name,
                      about[i].title);
    }
}
