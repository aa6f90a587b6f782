/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Log lines: a scope, a level, a constant message and typed fields.
 *
 *     static struct log_scope scope = LOG_SCOPE("ca");
 *     log_info(&scope, "certificate rotated", F_STR("id", id), F_U64("valid_for_s", n));
 *
 * Lines go through one bounded queue to a writer thread: a loop never waits for a slow disk or pipe.
 * What does not fit is counted (log_dropped) and said in the next line. Strings are escaped and cut.
 * Levels can be changed while running, for all scopes or for one.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/ip.h"
#include "base/str.h"

enum log_level { LOG_OFF, LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG, LOG_TRACE };
enum log_format { LOG_PLAIN, LOG_JSON };

struct log_scope {
    const char *name;
    int level; /* -1: the global level; written only by log_set_level */
    struct log_scope *next;
    bool known;
};

#define LOG_SCOPE(name_)                                                                           \
    {                                                                                              \
        .name = (name_), .level = -1                                                               \
    }

enum log_kind { LOG_KIND_STR, LOG_KIND_U64, LOG_KIND_I64, LOG_KIND_BOOL, LOG_KIND_RAW };

struct log_field {
    const char *key;
    enum log_kind kind;
    bool quote; /* plain format: always in quotes */
    union {
        struct slice str;
        uint64_t u64;
        int64_t i64;
        bool truth;
    } v;
};

#define F_STR(k, s) ((struct log_field){.key = (k), .kind = LOG_KIND_STR, .v.str = slice_of(s)})
#define F_QUOTED(k, s)                                                                             \
    ((struct log_field){.key = (k), .kind = LOG_KIND_STR, .quote = true, .v.str = slice_of(s)})
#define F_SLICE(k, s) ((struct log_field){.key = (k), .kind = LOG_KIND_STR, .v.str = (s)})
#define F_U64(k, n)   ((struct log_field){.key = (k), .kind = LOG_KIND_U64, .v.u64 = (uint64_t)(n)})
#define F_I64(k, n)   ((struct log_field){.key = (k), .kind = LOG_KIND_I64, .v.i64 = (int64_t)(n)})
#define F_BOOL(k, b)  ((struct log_field){.key = (k), .kind = LOG_KIND_BOOL, .v.truth = (b)})
/* Two fields: error, the text, and code, the name of its number. */
#define F_DIAG(d) F_STR("error", (d)->text), F_STR("code", err_name((d)->code))

/* fd is borrowed. Starts the writer thread; call once, early, before other threads. */
MUST_USE int log_start(int fd, enum log_format format, struct diag *why);
/* Writes what is queued, then stops the thread. Lines after this go to fd directly. */
void log_stop(void);
uint64_t log_dropped(void);

/* "info", "debug", "ca=trace,info": RUST_LOG-like directives, merged into those in force. Unknown levels
 * are -ERR_SYNTAX, and nothing is changed then. */
MUST_USE int log_set_level(const char *directives, struct diag *why);
/* The same, but what was in force is forgotten first. */
MUST_USE int log_reset_level(const char *directives, struct diag *why);
/* The directives now in force, as log_set_level takes them: scopes first, the global level last. */
void log_get_level(struct strbuf *out);
bool log_is_on(struct log_scope *s, enum log_level level);

void log_emit(struct log_scope *s, enum log_level level, const char *message,
              const struct log_field *fields, size_t count);
/* One whole line as it stands, in the format's own framing made by the caller (access log). */
void log_line(const char *line, size_t len);
enum log_format log_format_now(void);

/* Appends s as a string of JSON: for callers that compose lines and answers. */
void log_json_string(struct strbuf *out, struct slice s);

#define LOG_FIELDS(...)                                                                            \
    (const struct log_field[]){__VA_ARGS__},                                                       \
        sizeof((const struct log_field[]){__VA_ARGS__}) / sizeof(struct log_field)
#define log_at(scope, level, msg, ...)                                                             \
    do {                                                                                           \
        if (log_is_on((scope), (level))) {                                                         \
            log_emit((scope), (level), (msg), LOG_FIELDS(__VA_ARGS__));                            \
        }                                                                                          \
    } while (0)
#define log_error(scope, msg, ...) log_at((scope), LOG_ERROR, (msg), __VA_ARGS__)
#define log_warn(scope, msg, ...)  log_at((scope), LOG_WARN, (msg), __VA_ARGS__)
#define log_info(scope, msg, ...)  log_at((scope), LOG_INFO, (msg), __VA_ARGS__)
#define log_debug(scope, msg, ...) log_at((scope), LOG_DEBUG, (msg), __VA_ARGS__)
