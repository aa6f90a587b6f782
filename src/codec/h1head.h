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

enum {
    H1_FIELDS_MAX = 128,
    H1_METHOD_MAX = 32,
    H1_CHUNK_OVERHEAD_MAX = 16 << 10,
    H1_CHUNK_LINE_MAX = 256,
    H1_CHUNK_EXTENSIONS_MAX = 4 << 10, /* octets of them in one body */
    H1_TRAILERS_BYTES_MAX = 8 << 10,
    H1_TRAILERS_MAX = 32
};

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
 * not there yet. -ERR_SYNTAX when it need not be waited for: a bare CR or LF, another control
 * character or a folded line is there already. *seen is what was looked at before (start with 0) and
 * is moved on, so that a slow sender does not make us look at every byte again and again. */
MUST_USE ssize_t h1_section_end(const char *p, size_t len, size_t *seen, struct diag *why);
/* Whether these octets can be the beginning of a request's head, or of a response's, as far as its
 * first line says: 0 or what h1_head_parse would answer in the end. */
MUST_USE int h1_request_begins(const char *p, size_t len, struct diag *why);
MUST_USE int h1_response_begins(const char *p, size_t len, struct diag *why);

/* p to p + len is a whole head, empty line included. -ERR_SYNTAX, -ERR_VERSION (not HTTP/1.x),
 * -ERR_TOO_LARGE (too many fields). */
MUST_USE int h1_head_parse(const char *p, size_t len, struct h1_head *out, struct diag *why);
/* The same of a response. */
MUST_USE int h1_response_parse(const char *p, size_t len, struct h1_head *out, struct diag *why);
/* Field lines and the empty line only, as trailers are; the rest of out is left empty. */
MUST_USE int h1_fields_parse(const char *p, size_t len, struct h1_head *out, struct diag *why);

/* RFC 9110 5.6.2 and 5.5: what a name or method, and what a value may consist of. */
bool h1_is_token(struct slice s);
bool h1_is_value(struct slice s);
/* A path with its query: visible ASCII without '#', which no client sends and some servers cut at. */
bool h1_is_target(struct slice s);
/* host [":" port], not empty, without user information (RFC 9110 4.2, RFC 3986 3.2). */
bool h1_is_host(struct slice s);

/* What the head says about the rest of the message and of the connection. */
struct h1_framing {
    struct slice authority; /* of a request: from an absolute target or Host */
    struct slice path;      /* of a request: origin form or "*" */
    struct slice upgrade;   /* the protocol asked for or agreed to: "websocket", or empty */
    uint64_t length;        /* of the body; 0 when chunked */
    bool chunked;
    bool to_close; /* of a response: the end of the connection ends the body */
    bool close;    /* the connection ends after the response */
    bool expects_continue;
    bool expects_unknown; /* something else: 417 */
    bool takes_trailers;  /* te: trailers */
    bool nominates;       /* Connection names fields of this message: h1_is_nominated */
};

/* -ERR_SYNTAX, -ERR_UNSUPPORTED (a transfer coding that is not known). */
MUST_USE int h1_framing_of(const struct h1_head *h, struct h1_framing *out, struct diag *why);
/* The same of a response, to a request whose method was HEAD or not. */
MUST_USE int h1_response_framing(const struct h1_head *h, bool to_head, struct h1_framing *out,
                                 struct diag *why);
/* The field is the connection's business, not the message's (RFC 9110 7.6.1). */
bool h1_is_hop_field(struct slice name);
/* The head's Connection fields name it. */
bool h1_is_nominated(const struct h1_head *h, struct slice name);
/* A trailer that would change framing, routing or authentication after the fact (RFC 9110 6.5.1). */
bool h1_is_bad_trailer(struct slice name);

/* A decoder of a chunked body. Zero it to begin. */
enum h1_chunk_step {
    H1_CHUNK_LINE,    /* in a line that gives a size */
    H1_CHUNK_DATA,    /* left bytes of it follow */
    H1_CHUNK_DATA_CR, /* the line end behind the data */
    H1_CHUNK_DATA_LF,
    H1_CHUNK_TRAILERS /* the last chunk was seen; a field section follows (h1_section_end) */
};

enum h1_chunk_ext {
    H1_EXT_NONE,
    H1_EXT_NAME,
    H1_EXT_VALUE,
    H1_EXT_QUOTED,
    H1_EXT_ESCAPED,
    H1_EXT_SHUT
};

struct h1_chunk {
    enum h1_chunk_step step;
    enum h1_chunk_ext ext; /* where in an extension of the current line we are */
    uint64_t left;
    uint32_t overhead; /* octets that were no data, less what the data has earned */
    uint32_t extended; /* octets of extensions so far */
    unsigned digits;
    unsigned line;   /* octets of the current line */
    unsigned at_ext; /* of the current name or value */
    bool cr;
};

/* Uses up a prefix of p, framing until data (step H1_CHUNK_DATA, left octets of it) or the trailers:
 * how many octets, or -ERR_SYNTAX, or -ERR_TOO_LARGE when framing outweighs data. Then the caller says
 * how much of the data was used. */
MUST_USE ssize_t h1_chunk_frame(struct h1_chunk *c, const char *p, size_t len, struct diag *why);
void h1_chunk_skip(struct h1_chunk *c, size_t len);
