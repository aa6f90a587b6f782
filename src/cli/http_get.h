/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One small HTTP request to a program on this machine: asked in HTTP/1.0, so that the answer ends
 * with the connection and comes without transfer codings (RFC 9112 6.1). Blocks until the deadline.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/ip.h"

enum { HTTP_GET_BYTES_MAX = 256 << 20 };

struct http_where {
    const char *netns; /* NULL = where we are */
    struct endpoint at;
    uint64_t limit_ms;
};

struct http_answer {
    unsigned status;
    char *body; /* zero-terminated, the caller's */
    size_t len;
};

/* -ERR_DEADLINE, -ECONNREFUSED and the like, -ERR_TRUNCATED, -ERR_SYNTAX (it does not speak HTTP). */
MUST_USE int http_get_blocking(const struct http_where *where, const char *path,
                               struct http_answer *out, struct diag *why);
void http_answer_fini(struct http_answer *a);

/* Pure: out of everything that came. */
MUST_USE int http_answer_read(const char *text, size_t len, struct http_answer *out,
                              struct diag *why);
