/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Both walkers share one reader of fields, which says "more is needed" without having consumed
 * anything: the walker over memory takes that for a truncated message, the stream waits.
 */
#include "codec/pbwalk.h"

#include <string.h>

enum { VARINT_MAX = 10, NUMBER_MAX = (1 << 29) - 1 };

/* Bytes used; 0: left ends within it; negative: longer than ten bytes or over 64 bits. */
static int read_varint(const uint8_t *at, size_t left, uint64_t *out)
{
    uint64_t v = 0;

    for (size_t i = 0; i < VARINT_MAX; i++) {
        if (i == left) {
            return 0;
        }
        if (i == VARINT_MAX - 1 && at[i] > 1) {
            return -ERR_SYNTAX;
        }
        v |= (uint64_t)(at[i] & 0x7f) << (7 * i);
        if (at[i] < 0x80) {
            *out = v;
            return (int)i + 1;
        }
    }
    return -ERR_SYNTAX;
}

/* Number and wire type. Bytes used; 0: more is needed. */
static int read_tag(const uint8_t *at, size_t left, struct pb_field *f)
{
    uint64_t tag;
    int n = read_varint(at, left, &tag);

    if (n <= 0) {
        return n;
    }
    if (tag >> 3 == 0 || tag >> 3 > NUMBER_MAX) {
        return -ERR_SYNTAX;
    }
    f->number = (uint32_t)(tag >> 3);
    f->wire = (enum pb_wire)(tag & 7);
    return n;
}

static uint64_t little_endian(const uint8_t *p, size_t len)
{
    uint64_t v = 0;

    for (size_t i = len; i-- > 0;) {
        v = v << 8 | p[i];
    }
    return v;
}

static int read_fixed(const uint8_t *at, size_t left, size_t size, struct pb_field *f)
{
    if (left < size) {
        return 0;
    }
    f->value = little_endian(at, size);
    return (int)size;
}

/* The header of one field: everything but the payload of PB_BYTES, whose length it leaves in
 * f->len. Bytes used; 0: more is needed. */
static int read_head(const uint8_t *at, size_t left, struct pb_field *f)
{
    int tag, n;
    uint64_t len;

    *f = (struct pb_field){0};
    tag = read_tag(at, left, f);
    if (tag <= 0) {
        return tag;
    }
    at += tag;
    left -= (size_t)tag;
    switch ((int)f->wire) {
    case PB_VARINT:
        n = read_varint(at, left, &f->value);
        break;
    case PB_FIXED64:
        n = read_fixed(at, left, 8, f);
        break;
    case PB_FIXED32:
        n = read_fixed(at, left, 4, f);
        break;
    case PB_BYTES:
        n = read_varint(at, left, &len);
        if (n > 0 && len > INT32_MAX) {
            return -ERR_SYNTAX;
        }
        f->len = n > 0 ? (size_t)len : 0;
        break;
    default:
        return -ERR_SYNTAX; /* groups, and what is not assigned */
    }
    return n > 0 ? tag + n : n;
}

/* A whole field. Bytes used, 0: more is needed. */
static int64_t read_field(const uint8_t *at, size_t left, struct pb_field *f)
{
    int head = read_head(at, left, f);

    if (head <= 0) {
        return head;
    }
    if (f->len > left - (size_t)head) {
        return 0;
    }
    if (f->wire == PB_BYTES) {
        f->bytes = at + head;
    }
    return head + (int64_t)f->len;
}

int pbwalk_next(struct pbwalk *w, struct pb_field *out)
{
    struct pb_field f;
    int64_t n;

    if (w->left == 0) {
        return 0;
    }
    n = read_field(w->at, w->left, &f);
    if (n <= 0) {
        return n < 0 ? (int)n : -ERR_TRUNCATED;
    }
    w->at += n;
    w->left -= (size_t)n;
    *out = f;
    return 1;
}

int pbwalk_find(const void *message, size_t len, uint32_t number, struct pb_field *out)
{
    struct pbwalk w;
    struct pb_field f;
    int r;

    pbwalk_init(&w, message, len);
    while ((r = pbwalk_next(&w, &f)) > 0) {
        if (f.number == number) {
            *out = f;
            return 1;
        }
    }
    return r;
}

void pbstream_init(struct pbstream *s, size_t field_max)
{
    *s = (struct pbstream){.shown = 0};
    bytes_init(&s->held, field_max);
}

void pbstream_fini(struct pbstream *s)
{
    bytes_fini(&s->held);
}

static int fail(struct pbstream *s, int code)
{
    s->failed = code;
    bytes_fini(&s->held);
    return code;
}

static int hold(struct pbstream *s, const uint8_t **in, size_t *len, size_t want)
{
    size_t n = want < *len ? want : *len;

    if (bytes_add(&s->held, *in, n) < 0) {
        return fail(s, -ERR_TOO_LARGE);
    }
    *in += n;
    *len -= n;
    return 0;
}

/* Bytes that the field at the head of held needs in all; 0: its header is not complete. */
static int64_t held_size(struct pbstream *s)
{
    struct pb_field f;
    int head = read_head(bytes_peek(&s->held), s->held.len, &f);

    if (head < 0) {
        return fail(s, head);
    }
    if (head > 0 && f.len > s->held.limit - (size_t)head) {
        return fail(s, -ERR_TOO_LARGE);
    }
    return head > 0 ? head + (int64_t)f.len : 0;
}

/* Completes the field that earlier input began. */
static int next_held(struct pbstream *s, const uint8_t **in, size_t *len, struct pb_field *out)
{
    int64_t size = held_size(s);

    while (size == 0 && *len > 0) {
        int r = hold(s, in, len, 1);
        size = r < 0 ? r : held_size(s);
    }
    if (size <= 0) {
        return (int)size;
    }
    if ((uint64_t)size > s->held.len) {
        int r = hold(s, in, len, (size_t)size - s->held.len);
        if (r < 0 || (uint64_t)size > s->held.len) {
            return r;
        }
    }
    s->shown = (size_t)size;
    return read_field(bytes_peek(&s->held), s->held.len, out) > 0 ? 1 : fail(s, -ERR_SYNTAX);
}

/* A field that lies whole in the input is shown where it is. */
static int next_direct(struct pbstream *s, const uint8_t **in, size_t *len, struct pb_field *out)
{
    struct pb_field f;
    int64_t n = read_field(*in, *len, &f);

    if (n < 0) {
        return fail(s, (int)n);
    }
    if (n == 0) {
        return hold(s, in, len, 1) < 0 ? s->failed : next_held(s, in, len, out);
    }
    if ((uint64_t)n > s->held.limit) {
        return fail(s, -ERR_TOO_LARGE);
    }
    *in += n;
    *len -= (size_t)n;
    *out = f;
    return 1;
}

int pbstream_next(struct pbstream *s, const uint8_t **in, size_t *len, struct pb_field *out)
{
    if (s->failed < 0) {
        return s->failed;
    }
    bytes_skip(&s->held, s->shown);
    s->shown = 0;
    bytes_shrink(&s->held);
    if (*len == 0) {
        return 0;
    }
    return s->held.len > 0 ? next_held(s, in, len, out) : next_direct(s, in, len, out);
}

int pbstream_end(const struct pbstream *s)
{
    if (s->failed < 0) {
        return s->failed;
    }
    return s->held.len > s->shown ? -ERR_TRUNCATED : 0;
}
