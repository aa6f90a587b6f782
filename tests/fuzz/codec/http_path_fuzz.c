/* SPDX-License-Identifier: Apache-2.0 */
/* What comes out is not longer than what came in, holds no dot segment and nothing that is decoded
 * twice, and is its own form. The first byte chooses what becomes of double slashes; one with the
 * high bit makes a host of the rest. */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "codec/http_path.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_segments(const char *p, enum http_slashes how)
{
    assert(*p == '/');
    for (const char *at = p; (at = strchr(at, '/')); at++) {
        size_t len = strcspn(at + 1, "/");
        assert(!(len == 1 && at[1] == '.'));
        assert(!(len == 2 && at[1] == '.' && at[2] == '.'));
        assert(!(how == HTTP_SLASHES_MERGED && len == 0 && at[1] == '/'));
    }
}

static void check_bytes(const char *p, size_t len)
{
    assert(strlen(p) == len);
    for (size_t i = 0; i < len; i++) {
        assert((unsigned char)p[i] > ' ' && p[i] != 0x7f && !strchr("#?\\", p[i]));
        /* Escapes that are left are upper case and of none that needs no escape. */
        if (p[i] == '%') {
            assert(strchr("0123456789ABCDEF", p[i + 1]) && strchr("0123456789ABCDEF", p[i + 2]));
            assert(strncmp(p + i, "%00", 3) != 0 && strncmp(p + i, "%2E", 3) != 0 &&
                   strncmp(p + i, "%41", 3) != 0 && strncmp(p + i, "%7E", 3) != 0);
        }
    }
}

static void try_host(struct slice s)
{
    AUTO(strbuf) struct strbuf one = {0};
    AUTO(strbuf) struct strbuf two = {0};

    if (http_host_canonical(s, &one, NULL) < 0) {
        assert(one.len == 0);
        return;
    }
    assert(one.len <= s.len && one.len > 0);
    assert(http_host_canonical((struct slice){one.p, one.len}, &two, NULL) == 0);
    assert(strcmp(one.p, two.p) == 0);
    struct slice name = http_host_name((struct slice){one.p, one.len});
    assert(name.len > 0 && name.len <= one.len);
    assert(!memchr(name.p, '@', name.len) && !memchr(name.p, '/', name.len));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    AUTO(strbuf) struct strbuf one = {0};
    AUTO(strbuf) struct strbuf two = {0};

    if (size == 0) {
        return 0;
    }
    struct slice in = {(const char *)data + 1, size - 1};
    enum http_slashes how = data[0] & 1 ? HTTP_SLASHES_MERGED : HTTP_SLASHES_KEPT;
    if (data[0] & 0x80) {
        try_host(in);
        return 0;
    }
    if (http_path_normalise(in, how, &one, NULL) < 0) {
        assert(one.len == 0);
        assert(!http_path_is_normal(in, how));
        return 0;
    }
    assert(one.len <= in.len);
    if (strcmp(one.p, "*") != 0) {
        check_segments(one.p, how);
        check_bytes(one.p, one.len);
    }
    struct slice normal = {one.p, one.len};
    assert(http_path_normalise(normal, how, &two, NULL) == 0);
    assert(slice_equal(normal, (struct slice){two.p, two.len}));
    assert(!http_path_is_normal(in, how) || slice_equal(in, normal));
    return 0;
}
