/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Talks to a node agent's runtime socket (AF_UNIX stream): one JSON object a line in both directions;
 * requests have an "op" (run, ps, stop, signal, status), answers an "event". Blocks.
 */
#pragma once

#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"

struct json;

enum { RUNTIME_LINE_MAX = 8 << 20, RUNTIME_STDIO = 3 };

struct runtime_client {
    int fd; /* -1 = closed */
    struct bytes in;
};

/* -ENOENT and -ECONNREFUSED: no agent runs there. */
MUST_USE int runtime_open(struct runtime_client *c, const char *path, struct diag *why);
void runtime_close(struct runtime_client *c);
/* Takes the request. fds: NULL, or RUNTIME_STDIO descriptors that go with it (and stay ours too). */
MUST_USE int runtime_send_blocking(struct runtime_client *c, struct json *take_request,
                                   const int *fds, struct diag *why);
/* The next answer, the caller's: 1. 0: the agent has closed. -ERR_DEADLINE. */
MUST_USE int runtime_next_blocking(struct runtime_client *c, uint64_t limit_ms, struct json **out,
                                   struct diag *why);
/* What an answer says went wrong: 0 unless its event is "error" or "failed". */
int runtime_failure(const struct json *answer, struct diag *why);

/* One question, one answer. */
MUST_USE int runtime_ask_blocking(const char *path, struct json *take_request, uint64_t limit_ms,
                                  struct json **out, struct diag *why);
