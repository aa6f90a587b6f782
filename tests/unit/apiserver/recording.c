/* SPDX-License-Identifier: Apache-2.0 */
#include "recording.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "t.h"

struct recording {
    char *text;
    char *at;
    struct recorded last;
    struct strbuf command;
};

struct recording *recording_open(const char *vector)
{
    struct recording *r = mem_new(struct recording);
    size_t len = 0;

    r->text = test_vector(vector, &len);
    r->at = r->text;
    return r;
}

static void forget(struct recorded *e)
{
    for (unsigned i = 0; i < e->header_count; i++) {
        mem_free(e->headers[i]);
    }
    mem_free(e->command);
    mem_free(e->request);
    mem_free(e->body);
    mem_free(e->content_type);
    mem_free(e->answer);
    *e = (struct recorded){0};
}

void recording_close(struct recording *r)
{
    forget(&r->last);
    strbuf_fini(&r->command);
    free(r->text);
    mem_free(r);
}

static char *take_line(struct recording *r)
{
    char *line = r->at;
    char *end = strchr(line, '\n');

    if (*line == '\0') {
        return NULL;
    }
    r->at = end ? end + 1 : line + strlen(line);
    if (end) {
        *end = '\0';
    }
    return line;
}

static bool starts(const char *line, const char *with)
{
    return strncmp(line, with, strlen(with)) == 0;
}

/* Where something else begins than the body of what came before. */
static bool is_border(const char *line)
{
    return starts(line, "== ") || starts(line, "=====") || starts(line, "< HTTP/") ||
           starts(line, "$ ") || starts(line, "call: ");
}

/* The lines up to the next border. NULL when they say in words what they were. */
static char *take_body(struct recording *r)
{
    struct strbuf body = {0};

    while (*r->at != '\0' && !is_border(r->at)) {
        strbuf_puts(&body, take_line(r));
        strbuf_putc(&body, '\n');
    }
    struct slice trimmed = {strbuf_text(&body), body.len};
    while (trimmed.len > 0 && strchr(" \n", trimmed.p[trimmed.len - 1])) {
        trimmed.len--;
    }
    while (trimmed.len > 0 && *trimmed.p == '\n') {
        trimmed.p++;
        trimmed.len--;
    }
    char *text = trimmed.len > 0 && *trimmed.p != '(' ? mem_dup(trimmed.p, trimmed.len) : NULL;
    strbuf_fini(&body);
    return text;
}

static void take_request(struct recording *r, struct recorded *e, const char *line)
{
    const char *end = strstr(line, " HTTP/1.1");

    e->request = mem_dup(line + 2, (size_t)(end - line) - 2);
    while (starts(r->at, "> ")) {
        const char *header = take_line(r) + 2;
        if (e->header_count < RECORDING_HEADERS) {
            e->headers[e->header_count++] = mem_strdup(header);
        }
        e->is_protobuf = e->is_protobuf || (starts(header, "Content-Type:") &&
                                            strstr(header, "vnd.kubernetes.protobuf"));
    }
    e->body = take_body(r);
}

static void take_answer(struct recording *r, struct recorded *e)
{
    const char *line = take_line(r);

    e->status = (unsigned)atoi(line + strlen("< HTTP/1.1 "));
    while (starts(r->at, "< ") && !starts(r->at, "< HTTP/")) {
        const char *header = take_line(r) + 2;
        if (starts(header, "Content-Type: ")) {
            e->content_type = mem_strdup(header + strlen("Content-Type: "));
        }
    }
    e->answer = take_body(r);
}

bool recording_next(struct recording *r, struct recorded *out)
{
    char *line = NULL;

    forget(&r->last);
    while ((line = take_line(r)) != NULL) {
        if (starts(line, "$ ") || starts(line, "call: ")) {
            strbuf_clear(&r->command);
            strbuf_puts(&r->command, line);
        }
        if (starts(line, "> ") && strstr(line, " HTTP/1.1")) {
            r->last.command = mem_strdup(strbuf_text(&r->command));
            take_request(r, &r->last, line);
            if (starts(r->at, "< HTTP/1.1 ")) {
                take_answer(r, &r->last);
            }
            *out = r->last;
            return true;
        }
    }
    return false;
}
