/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whose token is this? The API server says (TokenReview, contract 6.2). Nothing is remembered: a pod
 * that is gone is refused at once. Poll-style; the control loop.
 */
#pragma once

#include "base/err.h"
#include "base/str.h"

struct kube_client;
struct task;

#define REVIEW_AUDIENCE "istio-ca"

enum { REVIEW_TOKEN_BYTES = 16 << 10, REVIEW_MS = 10000 };

struct caller { /* the caller's own texts */
    char *ns;
    char *account;
    char *pod_name; /* "": the token is bound to no pod */
    char *pod_uid;
};
void caller_fini(struct caller *c);

struct review;

/* owner is woken with WAKE_CHILD. */
struct review *review_new(struct kube_client *client, struct slice token, struct task *owner);
void review_free(struct review *r);
AUTO_DEFINE(review, struct review *, review_free);
/* 0: *out is who it is. -EAGAIN. -ERR_DENIED: nobody we know. Else there was no answer, and why. */
MUST_USE int review_result(struct review *r, struct caller *out, struct diag *why);
