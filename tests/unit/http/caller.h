/* SPDX-License-Identifier: Apache-2.0 */
/* The client's side of one exchange: sends a body, keeps the response. */
#pragma once

#include "base/bytes.h"
#include "http/exchange.h"

struct caller {
    struct task task;
    struct exchange *x;
    const char *body; /* NULL: none */
    size_t len;
    size_t sent;
    bool shut;
    bool hold_open; /* never ends the body */
    bool stopped;   /* does not read */
    struct bytes got;
    int result; /* 0: under way, 1: complete, or the error */
};

/* Takes x, which was made with end = (body == NULL). */
void caller_start(struct caller *c, struct loop *l, struct exchange *take_x, const char *body,
                  size_t len);
void caller_go_on(struct caller *c);
void caller_stop(struct caller *c, int why);
bool caller_got(struct caller *c, const char *text);
