/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/grpc_count.h"

#include "base/num.h"

enum { FRONT = 5 }; /* flags, and the length with its highest octet first */

static void front_octet(struct grpc_count *c, uint8_t octet)
{
    c->left = c->front == 0 ? 0 : c->left << 8 | octet;
    if (++c->front == FRONT) {
        c->messages++;
        c->front = c->left > 0 ? FRONT : 0;
    }
}

static void feed(struct grpc_count *c, const uint8_t *p, size_t len)
{
    for (size_t i = 0; i < len;) {
        if (c->front < FRONT) {
            front_octet(c, p[i++]);
            continue;
        }
        size_t n = MIN_OF(len - i, (size_t)c->left);
        i += n;
        c->left -= (uint32_t)n;
        c->front = c->left > 0 ? FRONT : 0;
    }
}

void grpc_count_feed(struct grpc_count *c, const struct iovec *v, size_t len)
{
    for (int i = 0; len > 0; i++) {
        size_t n = MIN_OF(v[i].iov_len, len);
        feed(c, v[i].iov_base, n);
        len -= n;
    }
}
