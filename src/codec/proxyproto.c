/* SPDX-License-Identifier: Apache-2.0 */
/* The layout is fixed by the specification of PROXY protocol version 2, sections 2.2 to 2.2.7. */
#include "codec/proxyproto.h"

#include <string.h>

#include "base/num.h"

enum {
    VERSION2_PROXY = 0x21,
    STREAM = 0x01,
    FAMILY_INET = 0x10,
    FAMILY_INET6 = 0x20,
    TLV_IDENTITY = 0xd0,
    FIXED = 16
};

static size_t put_addresses(uint8_t *at, const struct endpoint *src, const struct endpoint *dst)
{
    size_t size = ip_size(&src->ip);

    memcpy(at, src->ip.bytes, size);
    memcpy(at + size, dst->ip.bytes, size);
    be16_put(at + 2 * size, src->port);
    be16_put(at + 2 * size + 2, dst->port);
    return 2 * size + 4;
}

static uint8_t family_of(const struct endpoint *src, const struct endpoint *dst)
{
    if (src->ip.family != dst->ip.family) {
        return 0; /* unspecified */
    }
    return src->ip.family == IP_V4 ? FAMILY_INET : FAMILY_INET6;
}

int proxyproto_write(uint8_t into[static PROXYPROTO_MAX], const struct endpoint *src,
                     const struct endpoint *dst, const char *identity)
{
    static const uint8_t signature[] = {'\r', '\n', '\r', '\n', 0,   '\r',
                                        '\n', 'Q',  'U',  'I',  'T', '\n'};
    size_t name_len = identity ? strlen(identity) : 0;
    uint8_t family = family_of(src, dst);
    uint8_t *at = into + FIXED;

    if (name_len > PROXYPROTO_IDENTITY_MAX) {
        return -ERR_TOO_LARGE;
    }
    memcpy(into, signature, sizeof(signature));
    into[12] = VERSION2_PROXY;
    into[13] = family | STREAM;
    if (family != 0) {
        at += put_addresses(at, src, dst);
    }
    if (identity) {
        at[0] = TLV_IDENTITY;
        be16_put(at + 1, (uint16_t)name_len);
        memcpy(at + 3, identity, name_len);
        at += 3 + name_len;
    }
    be16_put(into + 14, (uint16_t)(at - into - FIXED));
    return (int)(at - into);
}
