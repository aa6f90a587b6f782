/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The head of one HTTP message, request or response, or a list of trailers: the same form for HTTP/1.1
 * and HTTP/2, so that a handler does not know which one it serves. A value, not a connection; any
 * thread, one at a time. The text is copied in and lives in one piece of memory.
 *
 * It has a limit. What would go beyond is dropped and remembered (message_is_whole), so that a writer
 * checks once, at the end, and sending an incomplete message fails. Sizes are counted as RFC 9113
 * 6.5.2 counts them: name + value + 32 a field.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

enum { MESSAGE_BYTES_MAX = 64 << 10, MESSAGE_FIELDS_MAX = 128, MESSAGE_FIELD_COST = 32 };

/* Of a request. A response has none of them, but a status. */
enum message_part {
    MESSAGE_METHOD,
    MESSAGE_SCHEME,    /* "http" or "https" */
    MESSAGE_AUTHORITY, /* :authority, or the Host field of HTTP/1.1 */
    MESSAGE_PATH,      /* path and query as sent: begins with '/', or is "*"; empty for CONNECT */
    MESSAGE_PROTOCOL,  /* what the connection is to become: the upgrade token, or :protocol */
    MESSAGE_PARTS
};

struct message_field {
    struct slice name; /* lower case */
    struct slice value;
};

struct message_span {
    uint32_t at;
    uint32_t len;
};

struct message {
    unsigned status; /* 100 to 599; 0: a request or trailers */
    unsigned count;  /* fields */
    /* private to http/ */
    char *text;
    uint32_t len;
    uint32_t room;
    uint32_t cost;
    uint32_t limit;
    struct message_span part[MESSAGE_PARTS];
    struct message_span *fields; /* name and value of the fields, two spans each */
    unsigned fields_room;
    bool overflow;
};

/* limit_bytes 0: MESSAGE_BYTES_MAX. A zeroed message is an initialised one with that limit. */
void message_init(struct message *m, uint32_t limit_bytes);
void message_fini(struct message *m);
void message_clear(struct message *m); /* keeps the memory and the limit */

static inline void message_release(struct message m)
{
    message_fini(&m);
}
AUTO_DEFINE(message, struct message, message_release);

void message_set(struct message *m, enum message_part part, struct slice text);
/* The name is stored in lower case. Several fields may have one name. */
void message_add(struct message *m, struct slice name, struct slice value);
void message_puts(struct message *m, const char *name, const char *value);
void message_put_u64(struct message *m, const char *name, uint64_t value);
/* A request in one call; authority and scheme may be NULL. */
void message_request(struct message *m, const char *method, const char *scheme,
                     const char *authority, const char *path);

/* Removes the fields of that (lower-case) name: how many there were. */
unsigned message_remove(struct message *m, const char *name);
/* All of from, in place of what *to held; to keeps its limit. Cheaper than field by field. */
void message_copy(struct message *to, const struct message *from);
/* What is in from moves to *to, whose contents go; from is empty afterwards and has the memory that *to
 * had. Both have from's limit. */
void message_take(struct message *to, struct message *from);
/* Cleared; the memory stays if an ordinary head would use it. */
void message_shrink(struct message *m);

/* As it is counted against the limit. */
static inline uint32_t message_cost(const struct message *m)
{
    return m->cost;
}

/* Nothing was dropped. */
static inline bool message_is_whole(const struct message *m)
{
    return !m->overflow;
}

/* All slices are borrowed until the next change. An absent part is empty. */
struct slice message_get(const struct message *m, enum message_part part);
struct message_field message_field(const struct message *m, unsigned i);
/* The first field of that (lower-case) name. False: none, *out is untouched. */
bool message_find(const struct message *m, const char *name, struct slice *out);
/* The fields of that name from i on: the index of the next one, or -1. */
int message_find_next(const struct message *m, const char *name, unsigned from);
/* The path without query, and what follows the '?' (empty if nothing does). */
void message_target(const struct message *m, struct slice *out_path, struct slice *out_query);
/* "a=1&b=2": the raw (not decoded) value of the first pair of that key. False: no such key. A key
 * without '=' has an empty value. */
bool message_query_find(struct slice query, const char *key, struct slice *out);
bool message_is_method(const struct message *m, const char *method);
