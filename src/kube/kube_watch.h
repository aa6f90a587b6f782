/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All objects of one resource, kept up to date: lists in pages, then watches, and does so again when
 * the watch breaks. What it learns comes out as events, in order, one at a time, when the owner asks;
 * it stops reading while nobody does. It remembers keys and versions, not objects, so that after a
 * new list it can say what is gone.
 *
 * Failure never deletes: while the server is away there are no events, only kube_watch_diag. Nor does
 * a 404 for a kind that a CustomResourceDefinition makes, which is what a server says that has not read
 * it yet: until the server confirms that there is none (definition.h), nothing is shown, not even
 * SYNCED. Then the kind is an empty list, asked for again with pauses: it may come.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct json;
struct kube_client;
struct kube_resource;
struct kube_watch;
struct task;

enum {
    KUBE_WATCH_PAGE = 500,
    KUBE_WATCH_BACKOFF_MIN_MS = 500, /* doubled each time, with jitter */
    KUBE_WATCH_BACKOFF_MAX_MS = 30000,
    KUBE_WATCH_TIMEOUT_S = 300, /* asked of the server: up to twice that, at random */
    KUBE_WATCH_DOUBT_S =
        5, /* before a kind's absence that only its group tells is asked for again */
    KUBE_WATCH_STALL_MS = 15000, /* beyond that timeout without a byte: the connection is dead */
    KUBE_WATCH_LINE_BYTES = 8 << 20, /* one event */
};

struct kube_watch_options { /* copied; resource must outlive the watch */
    const struct kube_resource *resource;
    const char *ns;             /* NULL = all */
    const char *label_selector; /* NULL = none */
    const char *field_selector;
    bool by_definition;   /* the kind is made by a CustomResourceDefinition */
    bool may_be_unserved; /* one that does not serve this version counts as none */
    uint64_t seed;        /* of jitter; 0 = random */
};

enum kube_event_type {
    KUBE_ADDED,
    KUBE_MODIFIED,
    KUBE_DELETED, /* the object may hold no more than metadata.name, .namespace and .uid */
    KUBE_SYNCED,  /* every object of the last list has been shown; once after each list */
};

struct kube_event {
    enum kube_event_type type;
    struct json *object; /* the taker's; NULL with KUBE_SYNCED */
};

/* owner is woken with WAKE_CHILD when kube_watch_next is worth calling. */
struct kube_watch *kube_watch_new(struct kube_client *c, const struct kube_watch_options *options,
                                  struct task *owner);
void kube_watch_free(struct kube_watch *w);
/* 1: *out. -EAGAIN: later. */
MUST_USE int kube_watch_next(struct kube_watch *w, struct kube_event *out);
/* It has been SYNCED once. */
bool kube_watch_is_synced(const struct kube_watch *w);
/* The server has confirmed that it does not have the kind. */
bool kube_watch_is_absent(const struct kube_watch *w);
/* Why nothing comes; code 0 when all is well. */
const struct diag *kube_watch_diag(const struct kube_watch *w);

AUTO_DEFINE(kube_watch, struct kube_watch *, kube_watch_free);
