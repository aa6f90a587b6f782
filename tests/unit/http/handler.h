/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A small application over exchanges, the same for HTTP/1.1 and HTTP/2. By path:
 *   /echo    "METHOD path body" once the body is here     /none   204
 *   /stream  three pieces, then the trailer x-sum          /big    BIG_BYTES known bytes
 *   /watch   head flushed, one line, open until handler_finish      /drop   closed without an answer
 *   /early   answered without reading the body             /split  a field that must not be sent
 *   /short   a content-length that is not kept
 */
#pragma once

#include "base/bytes.h"
#include "http/exchange.h"

enum { HANDLER_MAX = 24, BIG_BYTES = 300000 };

struct handling {
    struct task task;
    struct handler *in;
    struct exchange *x; /* NULL: free */
    struct bytes body;
    unsigned phase;
    size_t at;
};

struct handler {
    struct task task;
    struct loop *loop;
    int (*next)(void *server, struct exchange **out);
    void *server;
    struct handling now[HANDLER_MAX];
    int result; /* of the last next that was neither 1 nor -EAGAIN */
    bool over;
    unsigned requests;
    unsigned bigs; /* of them, those for /big */
    int failure;   /* the last error an exchange gave */
    bool finish;   /* watches end */
};

void handler_start(struct handler *h, struct loop *l);
/* The server whose owner is &h->task. */
void handler_serve(struct handler *h, int (*next)(void *server, struct exchange **out),
                   void *server);
void handler_finish(struct handler *h);
void handler_stop(struct handler *h);
char big_byte(size_t i);
