/* SPDX-License-Identifier: Apache-2.0 */
/* A message walked in memory and the same message arriving in pieces show the same fields and
 * end the same way. */
#include <assert.h>
#include <string.h>

#include "codec/pbwalk.h"

enum { FIELD_MAX = 1 << 20 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void same_field(const struct pb_field *a, const struct pb_field *b)
{
    assert(a->number == b->number && a->wire == b->wire && a->value == b->value &&
           a->len == b->len);
    assert(a->wire != PB_BYTES || a->len == 0 || memcmp(a->bytes, b->bytes, a->len) == 0);
}

/* All fields that the piece completes, each compared; 0 or negative. */
static int feed(struct pbstream *s, struct pbwalk *w, const uint8_t *in, size_t len)
{
    struct pb_field got, want;
    int r;

    while ((r = pbstream_next(s, &in, &len, &got)) > 0) {
        assert(pbwalk_next(w, &want) == 1);
        same_field(&got, &want);
    }
    assert(r < 0 || len == 0);
    return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct pbstream s;
    struct pbwalk w;
    struct pb_field f;
    size_t piece = size > 0 ? data[0] % 16 + 1u : 1;
    int r = 0;

    if (size == 0) {
        return 0;
    }
    data++;
    size--;
    pbwalk_init(&w, data, size);
    pbstream_init(&s, FIELD_MAX);
    for (size_t at = 0; at < size && r >= 0; at += piece) {
        r = feed(&s, &w, data + at, size - at < piece ? size - at : piece);
    }
    r = r < 0 ? r : pbstream_end(&s);
    /* A length over the limit is seen before the end of the message is. */
    assert(r == pbwalk_next(&w, &f) || r == -ERR_TOO_LARGE);
    pbstream_fini(&s);
    return 0;
}
