/* SPDX-License-Identifier: Apache-2.0 */
/* One HTTP request on its way: what it sends is given at once, what comes back is pulled. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"

struct kube_client;
struct task;
struct transfer;

struct transfer_request { /* copied */
    const char *method;
    const char *target;       /* path and query */
    const char *content_type; /* NULL: no body */
    struct slice body;
    size_t room;       /* bytes of answer held at most */
    bool is_stream;    /* full: the sender waits; else too much is an error */
    uint64_t limit_ms; /* of the whole; 0 = none */
    uint64_t stall_ms; /* without a byte; 0 = none */
};

/* owner is woken with WAKE_CHILD when there is more to see. Never fails at once. */
struct transfer *transfer_start(struct kube_client *c, const struct transfer_request *rq,
                                struct task *owner);
/* Cancels what still runs. Accepts NULL. */
void transfer_free(struct transfer *t);
/* The HTTP status; -EAGAIN while there is none; the failure, if there never was one. */
int transfer_status(const struct transfer *t);
/* -EAGAIN while it runs, 0 once the whole answer is here, or why it ended early. */
int transfer_result(const struct transfer *t);
/* Seconds; 0 = the answer does not say. */
uint64_t transfer_retry_after(const struct transfer *t);
/* The value of the index-th header of that name; NULL: there is none. Borrowed until the next call. */
const char *transfer_header(const struct transfer *t, const char *name, size_t index);
const struct diag *transfer_diag(const struct transfer *t);
/* What has come and was not taken yet; borrowed until the next call. */
struct slice transfer_data(const struct transfer *t);
void transfer_take(struct transfer *t, size_t len);
/* A stream's sender waits until something is taken. */
bool transfer_is_full(const struct transfer *t);
