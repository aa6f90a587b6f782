/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Service-account tokens. A token is a random secret and the name under which the store knows what
 * it stands for: account, audiences, expiry, the pod it is bound to. It says nothing by itself and
 * dies with its account, its pod or its time; TokenReview is the only judge.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct api;
struct json;

enum {
    TOKEN_LIFE_S = 3600,
    TOKEN_LIFE_MIN_S = 600,
    TOKEN_LIFE_MAX_S = 365 * 24 * 3600,
    TOKENS_MAX = 65536,        /* alive at once */
    TOKENS_NODE_MAX = 4096,    /* of them, asked for by one node: the others keep their share */
    TOKEN_EXPIRE_CHANGES = 64, /* expired tokens dropped a tick */
};

struct token_wish {
    const char *ns;
    const char *account;
    const char *account_uid;
    const char *pod; /* "" = bound to none */
    const char *pod_uid;
    const char *node;             /* of the pod */
    const struct json *audiences; /* an array of texts */
    int64_t life_s;
    bool by_node; /* the node asks itself */
};

/* Stores and returns it, the caller's (wipe it). -ERR_LIMIT: too many are alive. */
MUST_USE int token_issue(struct api *a, const struct token_wish *w, int64_t now_s, char **out);
/* What a token stands for, as its stored spec; the caller's. -ERR_DENIED and *why: not valid now. */
MUST_USE int token_check(struct api *a, const char *token, int64_t now_s, struct diag *why,
                         struct json **out);
void token_expire(struct api *a, int64_t now_s);
