/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One request to the API server and its answer: get, list, create, update, the patches, server-side
 * apply, delete. Poll-style: start it, be woken, take the answer. No retries: who asked knows whether
 * asking again is right.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct json;
struct strbuf;
struct kube_call;
struct kube_client;
struct kube_resource;
struct task;

enum kube_verb {
    KUBE_GET,
    KUBE_LIST,
    KUBE_CREATE,
    KUBE_UPDATE,
    KUBE_MERGE_PATCH,
    KUBE_JSON_PATCH,
    KUBE_STRATEGIC_PATCH, /* built-in kinds only */
    KUBE_APPLY,           /* server-side; needs a field manager */
    KUBE_DELETE,
};

enum { KUBE_CALL_MS = 30000 };

struct kube_ask { /* copied; texts may be NULL where they do not matter */
    enum kube_verb verb;
    const struct kube_resource *resource; /* must outlive the call */
    const char *ns;
    const char *name;
    const char *sub;
    const struct json *body;    /* borrowed for the call; of KUBE_DELETE: DeleteOptions */
    const char *field_manager;  /* NULL: the client's name */
    bool force;                 /* KUBE_APPLY: take fields over from other managers */
    bool strict;                /* KUBE_APPLY: a field that the kind does not have is refused */
    const char *label_selector; /* KUBE_LIST */
    const char *field_selector;
    const char *continue_token;
    const char *resource_version;
    unsigned limit;
    uint64_t limit_ms; /* 0 = KUBE_CALL_MS */
};

struct kube_answer {
    unsigned status;   /* HTTP's */
    struct json *body; /* the object, list or Status; NULL when it is no JSON */
    uint64_t retry_after_s;
    struct json *warnings; /* texts that the server wants people to see; NULL: none */
};

/* owner is woken with WAKE_CHILD when the answer is there. Never fails at once. */
struct kube_call *kube_call_new(struct kube_client *c, const struct kube_ask *ask,
                                struct task *owner);
/* 0: an answer, whatever it says, the caller's. -EAGAIN: later. Else there was none, and why. */
MUST_USE int kube_call_take(struct kube_call *call, struct kube_answer *out, struct diag *why);
/* The same for who wants to know only whether it was done: a status of failure is its error. */
MUST_USE int kube_call_done(struct kube_call *call, struct diag *why);
/* Cancels. */
void kube_call_free(struct kube_call *call);
void kube_answer_fini(struct kube_answer *a);
/* 0 for success; -ERR_NOT_FOUND, -ERR_EXISTS, -ERR_CONFLICT, -ERR_DENIED, -ERR_UNAVAILABLE (ask again
 * later), -ERR_VERSION (410: that version is gone), -ERR_SYNTAX (400, 422), else -ERR_HTTP_STATUS. */
int kube_answer_error(const struct kube_answer *a, struct diag *why);
/* What an answer that is an error says, as a whole: "API server, 422: FIELD: what is wrong, FIELD: ...". */
void kube_answer_words(const struct kube_answer *a, struct strbuf *out);

AUTO_DEFINE(kube_call, struct kube_call *, kube_call_free);
