/* SPDX-License-Identifier: Apache-2.0 */
/* A chunked body as its reader takes it (http/h1_body.c): framing, then the data behind it. */
#pragma once

#include "base/num.h"
#include "codec/h1head.h"

/* Uses up a prefix of p, as h1_chunk_frame; *out is the data among it. Stops behind each piece. */
static inline ssize_t chunk_feed(struct h1_chunk *c, const char *p, size_t len, struct slice *out)
{
    ssize_t used = h1_chunk_frame(c, p, len, NULL);

    *out = (struct slice){p, 0};
    if (used < 0 || c->step != H1_CHUNK_DATA) {
        return used;
    }
    size_t n = (size_t)MIN_OF(c->left, (uint64_t)(len - (size_t)used));
    *out = (struct slice){p + used, n};
    h1_chunk_skip(c, n);
    return used + (ssize_t)n;
}
