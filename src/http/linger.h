/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The last seconds of a connection that ends in order: sends what is left, ends our half, and throws
 * away what the peer still sends until its end, because closing a socket with unread data resets the
 * connection and can take the last response with it. Lives on its own, within limits.
 */
#pragma once

#include "base/bytes.h"
#include "io/loop.h"
#include "io/stream.h"

enum { LINGER_MS = 2000, LINGER_DISCARD_BYTES = 1 << 20 };

/* Takes below and the contents of out (which is empty afterwards). */
void linger_start(struct loop *l, struct stream *take_below, struct bytes *take_out);
