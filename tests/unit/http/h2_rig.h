/* SPDX-License-Identifier: Apache-2.0 */
/* Sessions of HTTP/2 for tests: our client with our server, and our server with a peer of raw frames. */
#pragma once

#include "base/str.h"
#include "caller.h"
#include "handler.h"
#include "http/h2_session.h"
#include "mempipe.h"
#include "wire.h"

enum { H2_RIG_CALLS = 12 };

/* Our client and our server, back to back. */
struct h2_rig {
    struct loop *loop;
    struct h2_session *client;
    struct h2_session *server;
    struct handler app;
    struct caller call[H2_RIG_CALLS];
    struct mempipe_fault fault;
};

/* pipe: octets on the way at most; fail_at: which call of the server's stream fails, -1: none; options:
 * of both ends, NULL for the defaults. */
void h2_rig_start_with(struct h2_rig *g, size_t pipe, int fail_at,
                       const struct h2_options *options);
void h2_rig_start(struct h2_rig *g);
/* Nothing is left. */
bool h2_rig_stop(struct h2_rig *g);
void h2_rig_call(struct h2_rig *g, int i, const char *method, const char *path, const char *body);

/* A peer of raw frames against our server. */
struct h2_raw {
    struct loop *loop;
    struct h2_session *server;
    struct handler app;
    struct wire peer;
    struct strbuf script;
};

void h2_raw_start_with(struct h2_raw *w, size_t pipe, const struct h2_options *options);
void h2_raw_start(struct h2_raw *w, size_t pipe);
/* Sends the script, lets everything happen. */
bool h2_raw_play(struct h2_raw *w);
bool h2_raw_stop(struct h2_raw *w);
void h2_put_frame(struct strbuf *b, unsigned type, unsigned flags, uint32_t stream,
                  const void *body, size_t len);
void h2_put_preface(struct strbuf *b);

#define H2_GET_WATCH                                                                               \
    "\x82\x87\x41\x01"                                                                             \
    "a\x04\x06/watch" /* https://a/watch */
