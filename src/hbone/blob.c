/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "base/mem.h"
#include "base/num.h"
#include "hbone/blob_int.h"

void blob_put(struct bytes *out, int *r, const void *from, size_t len)
{
    if (*r == 0 && len > 0) {
        *r = bytes_add(out, from, len);
    }
}

void blob_put_u32(struct bytes *out, int *r, uint32_t v)
{
    uint8_t buf[4];

    be32_put(buf, v);
    blob_put(out, r, buf, sizeof(buf));
}

void blob_put_u64(struct bytes *out, int *r, uint64_t v)
{
    uint8_t buf[8];

    be64_put(buf, v);
    blob_put(out, r, buf, sizeof(buf));
}

void blob_put_bytes(struct bytes *out, int *r, const void *from, size_t len)
{
    blob_put_u32(out, r, (uint32_t)len);
    blob_put(out, r, from, len);
}

/* NULL is not the same as empty. */
void blob_put_text(struct bytes *out, int *r, const char *text)
{
    blob_put_u32(out, r, text != NULL);
    blob_put_bytes(out, r, text, text ? strlen(text) : 0);
}

static const uint8_t *take(struct blob *b, size_t len)
{
    static const uint8_t nothing[8];
    const uint8_t *p = b->p;

    if (len > b->left) {
        b->bad = true;
        b->left = 0;
        return nothing;
    }
    b->p += len;
    b->left -= len;
    return p;
}

uint32_t blob_get_u32(struct blob *b)
{
    return be32_get(take(b, 4));
}

uint64_t blob_get_u64(struct blob *b)
{
    return be64_get(take(b, 8));
}

bool blob_get_bool(struct blob *b)
{
    return blob_get_u32(b) != 0;
}

/* Borrowed; empty when the blob is bad or the count is over limit. */
struct slice blob_get_bytes(struct blob *b, size_t limit)
{
    size_t len = blob_get_u32(b);

    if (len > limit || len > b->left) {
        b->bad = true;
        return (struct slice){"", 0};
    }
    return (struct slice){(const char *)take(b, len), len};
}

char *blob_get_text(struct blob *b)
{
    bool there = blob_get_bool(b);
    struct slice s = blob_get_bytes(b, BLOB_TEXT_MAX);

    return there && !b->bad ? mem_dup(s.p, s.len) : NULL;
}

void blob_put_version(struct bytes *out, int *r)
{
    blob_put_u32(out, r, BLOB_VERSION);
}

/* 0, -ERR_VERSION or -ERR_SYNTAX. No older form was ever in use. */
int blob_check_version(struct blob *b)
{
    uint32_t version = blob_get_u32(b);

    return b->bad || version == 0 ? -ERR_SYNTAX : version != BLOB_VERSION ? -ERR_VERSION : 0;
}
