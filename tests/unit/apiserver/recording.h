/* SPDX-License-Identifier: Apache-2.0 */
/* Recorded conversations with a real API server, read back: one exchange after the other. */
#pragma once

#include <stdbool.h>

#include "base/str.h"

enum { RECORDING_HEADERS = 24 };

struct recorded {
    char *command;                    /* what the client was told to do; for messages */
    char *request;                    /* "GET /path?query" */
    char *headers[RECORDING_HEADERS]; /* of the request: "Name: value" */
    unsigned header_count;
    char *body; /* of the request; NULL = none, or not readable (protobuf) */
    bool is_protobuf;
    unsigned status;
    char *content_type;
    char *answer; /* NULL = none, or cut */
};

struct recording;
struct recording *recording_open(const char *vector);
void recording_close(struct recording *r);
/* False at the end. Borrowed until the next call. */
bool recording_next(struct recording *r, struct recorded *out);
