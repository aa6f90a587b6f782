/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Judges the fields of one header block as they are decoded and keeps the few that the mesh uses
 * (RFC 9113 8; contract 2.4 to 2.6 and the order of refusals as recorded: what a field breaks by its
 * mere text ends the connection, what makes the message malformed ends the stream).
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"
#include "hbone/head.h"

struct hpack_field;

enum headers_kind { HEADERS_REQUEST, HEADERS_RESPONSE, HEADERS_TRAILERS };

enum header { /* what is kept or only remembered */
              HEADER_METHOD,
              HEADER_AUTHORITY,
              HEADER_SCHEME,
              HEADER_PATH,
              HEADER_PROTOCOL,
              HEADER_STATUS,
              HEADER_BAGGAGE,
              HEADER_FORWARDED,
              HEADER_TRACEPARENT,
              HEADER_NETWORK,
              HEADER_HOST,
              HEADER_LENGTH,
              HEADER_COUNT,
              HEADER_OTHER = HEADER_COUNT
};

struct headers {
    enum headers_kind kind;
    uint32_t limit_bytes; /* of the list, as SETTINGS_MAX_HEADER_LIST_SIZE counts */
    uint64_t list_bytes;
    bool malformed;
    bool regular;  /* a regular field was seen */
    unsigned seen; /* bits of enum header */
    struct {
        uint32_t at;
        uint32_t len;
    } kept[HEADER_COUNT]; /* in text; only where seen */
    struct bytes text;
    int64_t content_length; /* -1: not said */
    unsigned status;
};

void headers_init(struct headers *h, enum headers_kind kind, uint32_t limit_bytes);
void headers_fini(struct headers *h);
/* 0; -ERR_H2_PROTOCOL: the connection is to end; -ENOMEM. */
MUST_USE int headers_add(struct headers *h, const struct hpack_field *f);
/* After the last field: 0; -ERR_TOO_LARGE: over the limit; -ERR_SYNTAX: malformed. */
MUST_USE int headers_judge(const struct headers *h);
/* What was kept, as slices of text: h->text, or where its contents were moved to. */
void headers_head(const struct headers *h, const struct bytes *text, struct hbone_head *out);

/* The block that asks for a tunnel, without a frame around it; 0, -ERR_TOO_LARGE. */
MUST_USE int headers_put_connect(struct bytes *out, const struct hbone_head *head);
MUST_USE int headers_put_answer(struct bytes *out, unsigned status, struct slice baggage);
