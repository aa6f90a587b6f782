/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/grpc_count.h"

#include <string.h>

#include "base/num.h"
#include "t.h"

static void put(uint8_t *p, size_t *at, uint8_t flags, uint32_t len)
{
    const uint8_t front[] = {flags, (uint8_t)(len >> 24), (uint8_t)(len >> 16), (uint8_t)(len >> 8),
                             (uint8_t)len};

    memcpy(p + *at, front, sizeof(front));
    memset(p + *at + sizeof(front), 1, len); /* would read as fronts, were they not skipped */
    *at += sizeof(front) + len;
}

/* In pieces, two at a time. */
static uint64_t count_cut(uint8_t *p, size_t len, size_t piece)
{
    struct grpc_count c = {0};

    for (size_t at = 0; at < len;) {
        size_t first = MIN_OF(piece, len - at);
        size_t second = MIN_OF(piece + 2, len - at - first);
        const struct iovec v[] = {{p + at, first}, {p + at + first, second + 9}};
        grpc_count_feed(&c, v, first + second); /* the last piece is not used to its end */
        at += first + second;
    }
    return c.messages;
}

TEST(messages_are_counted_however_they_are_cut)
{
    static uint8_t body[80000];
    size_t len = 0;

    put(body, &len, 0, 0);
    put(body, &len, 1, 5);
    put(body, &len, 0, 0);
    put(body, &len, 0, 66000);
    put(body, &len, 0, 256);
    for (size_t piece = 1; piece < len + 2; piece = piece < 40 ? piece + 1 : piece * 3) {
        CHECK_INT(count_cut(body, len, piece), 5);
    }
}

TEST(a_message_counts_once_its_length_is_known)
{
    uint8_t body[64];
    size_t len = 0;

    put(body, &len, 0, 3);
    put(body, &len, 0, 7);
    CHECK_INT(count_cut(body, 4, 1), 0);
    CHECK_INT(count_cut(body, 5, 1), 1);
    CHECK_INT(count_cut(body, 12, 2), 1);
    CHECK_INT(count_cut(body, 13, 3), 2);
}
