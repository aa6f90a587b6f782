/* SPDX-License-Identifier: Apache-2.0 */
#include "http/hpack.h"

#include <nghttp2/nghttp2.h>
#include <stdlib.h>

#include "base/mem.h"

/* RFC 7541 appendix A ends here; what follows is the dynamic table, newest first. */
enum { STATIC_ENTRIES = 61, DECODER_MEMORY_MAX = 256 << 10 };

struct hpack_decoder {
    nghttp2_hd_inflater *inflater;
};

/* Everything the inflater allocates depends on the peer. */

static void *inflater_malloc(size_t size, void *arg UNUSED)
{
    return mem_try(size, DECODER_MEMORY_MAX);
}

static void inflater_free(void *p, void *arg UNUSED)
{
    mem_free(p);
}

static void *inflater_calloc(size_t count, size_t size, void *arg UNUSED)
{
    size_t total;

    if (__builtin_mul_overflow(count, size, &total)) {
        return NULL;
    }
    void *p = mem_try(total, DECODER_MEMORY_MAX);
    if (p) {
        memset(p, 0, total);
    }
    return p;
}

static void *inflater_realloc(void *p, size_t size, void *arg UNUSED)
{
    return mem_try_resize(p, size, DECODER_MEMORY_MAX);
}

static nghttp2_mem inflater_memory = {NULL, inflater_malloc, inflater_free, inflater_calloc,
                                      inflater_realloc};

struct hpack_decoder *hpack_decoder_new(void)
{
    AUTO(hpack_decoder) struct hpack_decoder *d = mem_new(struct hpack_decoder);

    if (nghttp2_hd_inflate_new2(&d->inflater, &inflater_memory) != 0) {
        d->inflater = NULL;
        return NULL;
    }
    return MOVE(d);
}

void hpack_decoder_free(struct hpack_decoder *d)
{
    if (d) {
        if (d->inflater) {
            nghttp2_hd_inflate_del(d->inflater);
        }
        mem_free(d);
    }
}

static struct slice slice_from(const uint8_t *p, size_t len)
{
    return (struct slice){(const char *)p, len};
}

int hpack_next(struct hpack_decoder *d, struct slice *at, bool last, struct hpack_field *out)
{
    for (;;) {
        nghttp2_nv nv;
        int flags = 0;
        ssize_t n =
            nghttp2_hd_inflate_hd2(d->inflater, &nv, &flags, (const uint8_t *)at->p, at->len, last);

        if (n < 0) {
            return n == NGHTTP2_ERR_NOMEM ? -ENOMEM : -ERR_H2_PROTOCOL;
        }
        at->p += n;
        at->len -= (size_t)n;
        if (flags & NGHTTP2_HD_INFLATE_EMIT) {
            out->name = slice_from(nv.name, nv.namelen);
            out->value = slice_from(nv.value, nv.valuelen);
            return 1;
        }
        if (flags & NGHTTP2_HD_INFLATE_FINAL) {
            nghttp2_hd_inflate_end_headers(d->inflater);
            return 0;
        }
        if (at->len == 0) {
            return 0;
        }
    }
}

/* RFC 7541 5.1 */
static int put_int(struct bytes *out, uint8_t first, unsigned prefix_bits, size_t value)
{
    uint8_t buf[12];
    size_t max = (1u << prefix_bits) - 1;
    size_t n = 1;

    if (value < max) {
        buf[0] = (uint8_t)(first | value);
    } else {
        buf[0] = (uint8_t)(first | max);
        for (value -= max; value >= 128; value >>= 7) {
            buf[n++] = (uint8_t)(value | 128);
        }
        buf[n++] = (uint8_t)value;
    }
    return bytes_add(out, buf, n);
}

static int put_string(struct bytes *out, struct slice s)
{
    int r = put_int(out, 0, 7, s.len);

    return r < 0 || s.len == 0 ? r : bytes_add(out, s.p, s.len);
}

static int put_indexing(struct bytes *out, struct slice name, struct slice value)
{
    int r = put_int(out, 0x40, 6, 0);

    if (r == 0) {
        r = put_string(out, name);
    }
    return r < 0 ? r : put_string(out, value);
}

bool hpack_decoder_is_blank(struct hpack_decoder *d)
{
    return nghttp2_hd_inflate_get_dynamic_table_size(d->inflater) == 0 &&
           nghttp2_hd_inflate_get_max_dynamic_table_size(d->inflater) == HPACK_TABLE_BYTES;
}

int hpack_decoder_export(struct hpack_decoder *d, struct bytes *out)
{
    size_t table = nghttp2_hd_inflate_get_max_dynamic_table_size(d->inflater);
    size_t entries = nghttp2_hd_inflate_get_num_table_entries(d->inflater);
    int r = table != HPACK_TABLE_BYTES ? put_int(out, 0x20, 5, table) : 0;

    for (size_t i = entries; r == 0 && i > STATIC_ENTRIES; i--) { /* the oldest first */
        const nghttp2_nv *nv = nghttp2_hd_inflate_get_table_entry(d->inflater, i);

        r = put_indexing(out, slice_from(nv->name, nv->namelen),
                         slice_from(nv->value, nv->valuelen));
    }
    return r;
}

int hpack_decoder_import(struct hpack_decoder **out, const void *block, size_t len)
{
    AUTO(hpack_decoder) struct hpack_decoder *d = hpack_decoder_new();
    struct slice at = {block, len};
    struct hpack_field field;
    int r = d ? 1 : -ENOMEM;

    while (r > 0) {
        r = hpack_next(d, &at, true, &field);
    }
    if (r == 0) {
        *out = MOVE(d);
    }
    return r;
}

/* The names we send that the static table knows. */
static unsigned static_name(const char *name)
{
    static const struct {
        const char *name;
        unsigned index;
    } known[] = {{":authority", 1}, {":method", 2}, {":status", 8}};

    for (size_t i = 0; i < ARRAY_LEN(known); i++) {
        if (strcmp(known[i].name, name) == 0) {
            return known[i].index;
        }
    }
    return 0;
}

int hpack_put(struct bytes *out, const char *name, struct slice value, bool secret)
{
    unsigned index = static_name(name);
    int r = put_int(out, secret ? 0x10 : 0, 4, index);

    if (r == 0 && index == 0) {
        r = put_string(out, slice_of(name));
    }
    return r < 0 ? r : put_string(out, value);
}

int hpack_put_status(struct bytes *out, unsigned status)
{
    static const unsigned known[] = {200, 204, 206, 304, 400, 404, 500}; /* 8 to 14 */
    char text[] = {(char)('0' + status / 100 % 10), (char)('0' + status / 10 % 10),
                   (char)('0' + status % 10)};

    for (unsigned i = 0; i < ARRAY_LEN(known); i++) {
        if (known[i] == status) {
            return put_int(out, 0x80, 7, 8 + i);
        }
    }
    return hpack_put(out, ":status", (struct slice){text, sizeof(text)}, false);
}

int hpack_put_no_table(struct bytes *out)
{
    return put_int(out, 0x20, 5, 0);
}
