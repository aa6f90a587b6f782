/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A request that a server's connection answered by itself, because its head was not to be handed to
 * anybody: for owners that keep records. Collected only where the options ask for it
 * (shows_refusals); the owner is woken and takes them one by one. Each ends its HTTP/1.1 connection
 * or costs a token of its HTTP/2 session, so that there are never many.
 */
#pragma once

#include "base/list.h"
#include "http/exchange.h"

struct refusal {
    struct list in_list;
    unsigned status; /* that was sent; 0: the stream was reset, without a response */
    enum exchange_version version;
    struct message in; /* as far as it was understood: method, path, authority may be empty */
    uint32_t head_bytes;
    struct diag why;
};

void refusal_free(struct refusal *r); /* accepts NULL */
AUTO_DEFINE(refusal, struct refusal *, refusal_free);
