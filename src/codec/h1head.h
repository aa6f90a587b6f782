/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP/1.1 on the wire, strictly (RFC 9112): the head of a request or response, how its body is
 * framed, and chunks. Bytes in, borrowed slices out; no allocation, no I/O. Whatever two parsers might read in two
 * ways is an error here: bare CR or LF, folded lines, blanks around names, two lengths, a length and
 * a transfer coding, signs and overlong numbers, codings other than "chunked".
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/str.h"

enum { H1_FIELDS_MAX = 128, H1_CHUNK_OVERHEAD_MAX = 16 << 10, H1_CHUNK_LINE_MAX = 256 };

struct h1_field {
    struct slice name; /* as sent */
    struct slice value;
};

/* Field names with an underscore: programs behind a CGI-like gateway read "_" as "-". */
enum h1_underscore { H1_UNDERSCORE_ALLOW, H1_UNDERSCORE_REJECT, H1_UNDERSCORE_DROP };

struct h1_head {
    struct slice method; /* of a request */
    struct slice target;
    unsigned status; /* of a response: 100 to 599 */
    unsigned minor;  /* of HTTP/1.x: 0 or 1 */
    unsigned count;
    struct h1_field fields[H1_FIELDS_MAX];
};

/* Where the section that begins at p ends: the length including its empty line, or 0 while that is
 * not there yet. *seen is what was looked at before (start with 0) and is moved on, so that a slow
 * sender does not make us look at every byte again and again. */
size_t h1_section_end(const char *p, size_t len, size_t *seen);

/* p to p + len is a whole head, empty line included. -ERR_SYNTAX, -ERR_VERSION (not HTTP/1.x),
 * -ERR_TOO_LARGE (too many fields). */
MUST_USE int h1_head_parse(const char *p, size_t len, struct h1_head *out, struct diag *why);
/* Field lines and the empty line only, as trailers are; method and target are left empty. */
MUST_USE int h1_fields_parse(const char *p, size_t len, struct h1_head *out, struct diag *why);

/* What the head says about the rest of the message and of the connection. */
struct h1_framing {
    struct slice authority; /* from an absolute target or Host */
    struct slice path;      /* origin form or "*" */
    uint64_t length;        /* of the body; 0 when chunked */
    bool chunked;
    bool close; /* the connection ends after the response */
    bool expects_continue;
    bool takes_trailers; /* te: trailers */
};

/* -ERR_SYNTAX, -ERR_UNSUPPORTED (a transfer coding or an expectation that is not known). */
MUST_USE int h1_framing_of(const struct h1_head *h, struct h1_framing *out, struct diag *why);

/* A decoder of a chunked body. Zero it to begin. */
enum h1_chunk_step {
    H1_CHUNK_LINE,    /* in a line that gives a size */
    H1_CHUNK_DATA,    /* left bytes of it follow */
    H1_CHUNK_DATA_CR, /* the line end behind the data */
    H1_CHUNK_DATA_LF,
    H1_CHUNK_TRAILERS /* the last chunk was seen; a field section follows (h1_section_end) */
};

struct h1_chunk {
    enum h1_chunk_step step;
    uint64_t left;
    uint32_t overhead; /* octets that were no data, less what the data has earned */
    unsigned digits;
    unsigned line; /* octets of the current line */
    bool extension;
    bool cr;
};

/* Uses up a prefix of p: how many octets, or -ERR_SYNTAX, or -ERR_TOO_LARGE when framing
 * outweighs data. *out is the body data among them, possibly empty. Stops behind each piece of data
 * and at the trailers. */
MUST_USE ssize_t h1_chunk_feed(struct h1_chunk *c, const char *p, size_t len, struct slice *out,
                               struct diag *why);
