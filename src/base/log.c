/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"

#include <pthread.h>
#include <stdatomic.h>

#include "base/clock.h"
#include "base/log_int.h"
#include "base/num.h"

enum { STRING_MAX = 4096, LINE_MAX_BYTES = 64 << 10 };

static const char *const level_names[] = {"off", "error", "warn", "info", "debug", "trace"};

static atomic_int global_level = LOG_INFO;
static enum log_format format;
static struct log_scope *scopes; /* every scope that was ever asked about */
static pthread_mutex_t scopes_lock = PTHREAD_MUTEX_INITIALIZER;

/* Directives for scopes not met yet: "ca=debug" may come before the first line of "ca". */
enum { PENDING_MAX = 32 };
static struct {
    char name[32];
    int level;
} pending[PENDING_MAX];
static size_t pending_count;

int log_start(int fd, enum log_format how, struct diag *why)
{
    format = how;
    return log_queue_start(fd, why);
}

void log_stop(void)
{
    log_queue_stop();
}

uint64_t log_dropped(void)
{
    return log_queue_dropped();
}

enum log_format log_format_now(void)
{
    return format;
}

static void scope_meet(struct log_scope *s)
{
    (void)pthread_mutex_lock(&scopes_lock);
    if (!s->known) {
        for (size_t i = 0; i < pending_count; i++) {
            if (strcmp(pending[i].name, s->name) == 0) {
                __atomic_store_n(&s->level, pending[i].level, __ATOMIC_RELAXED);
            }
        }
        s->next = scopes;
        scopes = s;
        __atomic_store_n(&s->known, true, __ATOMIC_RELEASE);
    }
    (void)pthread_mutex_unlock(&scopes_lock);
}

bool log_is_on(struct log_scope *s, enum log_level level)
{
    if (!__atomic_load_n(&s->known, __ATOMIC_ACQUIRE)) {
        scope_meet(s);
    }
    int own = __atomic_load_n(&s->level, __ATOMIC_RELAXED);
    int limit = own >= 0 ? own : atomic_load_explicit(&global_level, memory_order_relaxed);
    return (int)level <= limit;
}

static int level_parse(struct slice s)
{
    for (size_t i = 0; i < ARRAY_LEN(level_names); i++) {
        if (slice_is(s, level_names[i])) {
            return (int)i;
        }
    }
    return -ERR_SYNTAX;
}

static void scope_level_set(struct slice name, int level)
{
    for (struct log_scope *s = scopes; s; s = s->next) {
        if (slice_is(name, s->name)) {
            __atomic_store_n(&s->level, level, __ATOMIC_RELAXED);
        }
    }
    for (size_t i = 0; i < pending_count; i++) {
        if (slice_is(name, pending[i].name)) {
            pending[i].level = level;
            return;
        }
    }
    if (pending_count < PENDING_MAX && name.len < sizeof(pending[0].name)) {
        memcpy(pending[pending_count].name, name.p, name.len);
        pending[pending_count].name[name.len] = '\0';
        pending[pending_count++].level = level;
    }
}

struct directive {
    struct slice scope; /* empty: all scopes */
    int level;
};

static int directive_parse(struct slice one, struct directive *out, struct diag *why)
{
    struct slice name;
    struct slice value;
    bool scoped = slice_cut(one, '=', &name, &value);
    int level = level_parse(scoped ? value : name);

    if (level < 0) {
        return FAIL(why, -ERR_SYNTAX,
                    "log level '%.*s': use off, error, warn, info, debug or trace",
                    (int)MIN_OF(one.len, 40u), one.p);
    }
    *out = (struct directive){.scope = scoped ? name : (struct slice){"", 0}, .level = level};
    return 0;
}

static void directive_apply(const struct directive *d)
{
    if (d->scope.len > 0) {
        scope_level_set(d->scope, d->level);
    } else {
        atomic_store(&global_level, d->level);
    }
}

/* Walks the list; apply: puts them into force, with the lock held. */
static int directives_walk(const char *directives, bool apply, struct diag *why)
{
    struct slice rest = slice_of(directives);
    struct slice one;
    struct directive d;
    bool more = rest.len > 0;
    int r = 0;

    while (more && r == 0) {
        more = slice_cut(rest, ',', &one, &rest);
        if (one.len == 0) {
            continue;
        }
        r = directive_parse(slice_trim(one), &d, why);
        if (r == 0 && apply) {
            directive_apply(&d);
        }
    }
    return r;
}

/* All or nothing: a list with a mistake in it changes no level. */
static int levels_change(const char *directives, bool forget, struct diag *why)
{
    int r = directives_walk(directives, false, why);

    if (r < 0) {
        return r;
    }
    (void)pthread_mutex_lock(&scopes_lock);
    for (struct log_scope *s = scopes; s && forget; s = s->next) {
        __atomic_store_n(&s->level, -1, __ATOMIC_RELAXED);
    }
    pending_count = forget ? 0 : pending_count;
    r = directives_walk(directives, true, why);
    (void)pthread_mutex_unlock(&scopes_lock);
    return r;
}

int log_set_level(const char *directives, struct diag *why)
{
    return levels_change(directives, false, why);
}

int log_reset_level(const char *directives, struct diag *why)
{
    return levels_change(directives, true, why);
}

void log_get_level(struct strbuf *out)
{
    (void)pthread_mutex_lock(&scopes_lock);
    for (size_t i = 0; i < pending_count; i++) {
        strbuf_printf(out, "%s=%s,", pending[i].name, level_names[pending[i].level]);
    }
    strbuf_puts(out, level_names[atomic_load(&global_level)]);
    (void)pthread_mutex_unlock(&scopes_lock);
}

void log_json_string(struct strbuf *out, struct slice s)
{
    static const char hex[] = "0123456789abcdef";

    strbuf_putc(out, '"');
    for (size_t i = 0; i < s.len && i < STRING_MAX; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (c == '"' || c == '\\') {
            strbuf_putc(out, '\\');
            strbuf_putc(out, (char)c);
        } else if (c < 0x20 || c >= 0x7f) {
            char escape[6] = {'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15]};
            strbuf_add(out, escape, sizeof(escape));
        } else {
            strbuf_putc(out, (char)c);
        }
    }
    strbuf_putc(out, '"');
}

static void number_add(struct strbuf *out, const struct log_field *f)
{
    switch (f->kind) {
    case LOG_KIND_U64:
        strbuf_printf(out, "%llu", (unsigned long long)f->v.u64);
        break;
    case LOG_KIND_I64:
        strbuf_printf(out, "%lld", (long long)f->v.i64);
        break;
    case LOG_KIND_BOOL:
        strbuf_puts(out, f->v.truth ? "true" : "false");
        break;
    case LOG_KIND_STR:
    case LOG_KIND_RAW:
        strbuf_add(out, f->v.str.p, f->v.str.len);
        break;
    }
}

static bool is_plain_word(struct slice s)
{
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (c <= ' ' || c >= 0x7f || c == '"' || c == '\\' || c == '=') {
            return false;
        }
    }
    return s.len > 0 && s.len < STRING_MAX;
}

static void log_field_plain(struct strbuf *out, const struct log_field *f)
{
    strbuf_puts(out, f->key);
    strbuf_putc(out, '=');
    if (f->kind == LOG_KIND_STR && (f->quote || !is_plain_word(f->v.str))) {
        log_json_string(out, f->v.str);
    } else {
        number_add(out, f);
    }
}

static void log_field_json(struct strbuf *out, const struct log_field *f)
{
    log_json_string(out, slice_of(f->key));
    strbuf_putc(out, ':');
    if (f->kind == LOG_KIND_STR) {
        log_json_string(out, f->v.str);
    } else {
        number_add(out, f);
    }
}

static void line_plain(struct strbuf *out, const struct log_scope *s, enum log_level level,
                       const char *message)
{
    char when[CLOCK_TEXT];

    clock_format(clock_wall_ns(), when, sizeof(when));
    strbuf_printf(out, "%s\t%s\t%s\t%s", when, level_names[level], s->name, message);
}

static void line_json(struct strbuf *out, const struct log_scope *s, enum log_level level,
                      const char *message)
{
    char when[CLOCK_TEXT];

    clock_format(clock_wall_ns(), when, sizeof(when));
    strbuf_printf(out, "{\"level\":\"%s\",\"time\":\"%s\",\"scope\":\"%s\",\"message\":",
                  level_names[level], when, s->name);
    log_json_string(out, slice_of(message));
}

void log_emit(struct log_scope *s, enum log_level level, const char *message,
              const struct log_field *fields, size_t count)
{
    AUTO(strbuf) struct strbuf line = {.limit = LINE_MAX_BYTES};
    bool json = format == LOG_JSON;

    (json ? line_json : line_plain)(&line, s, level, message);
    for (size_t i = 0; i < count; i++) {
        if (!fields[i].key) {
            continue;
        }
        strbuf_putc(&line, json ? ',' : i == 0 ? '\t' : ' ');
        (json ? log_field_json : log_field_plain)(&line, &fields[i]);
    }
    if (json) {
        strbuf_putc(&line, '}');
    }
    log_queue_put(strbuf_text(&line), line.len);
}

void log_line(const char *line, size_t len)
{
    log_queue_put(line, len);
}
