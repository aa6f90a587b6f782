/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The API on the network: requests of an http server go to api_handle, answers wait until they are
 * durable, watches are streamed. Users are known by bearer token; who has none is anonymous, and
 * may ask for health and version only. One loop.
 */
#pragma once

#include "apiserver/api.h"
#include "apiserver/extra.h"
#include "http/http_server.h"

struct serve;

enum {
    SERVE_DURABLE_MS =
        10000,            /* how long an answer waits for the disk: less than clients wait for it */
    SERVE_ASK_MS = 10000, /* and another loop's answer is waited for */
    SERVE_TICK_MS = 1000,
    SERVE_WATCH_BYTES = 64 << 10, /* events written at once */
    SERVE_USERS_MAX = 4096,
};

struct serve_user { /* copied */
    const char *token;
    const char *name;
    const char *const *groups; /* NULL-terminated; may be NULL */
    const char *node;          /* NULL: none */
    bool is_admin;
};

/* api and what the options point to must outlive it. */
struct serve *serve_new(struct loop *l, struct api *api, const struct http_server_options *http);
/* -ERR_LIMIT: too many users. A user of that name is replaced: that is how a credential is changed. */
MUST_USE int serve_add_user(struct serve *s, const struct serve_user *user);
/* Before it listens; copied. */
void serve_extra(struct serve *s, const struct extra *e);
/* Takes fd, a listening non-blocking socket. */
MUST_USE int serve_listen(struct serve *s, int take_fd, struct diag *why);
/* Ends every watch and connection. The loop of an extra must not run any more. */
void serve_free(struct serve *s);

AUTO_DEFINE(serve, struct serve *, serve_free);
