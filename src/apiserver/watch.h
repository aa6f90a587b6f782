/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One client's view of the changes of a kind. It buffers nothing: it keeps its place in the store's
 * window of changes and writes events when it is asked to; a client too slow for the window gets 410
 * and the end. Only durable changes are shown. Pull, do not push: the owner asks when the store
 * wakes it (store_wait) or when watch_due_ns has come.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "apiserver/accept.h"
#include "base/str.h"

struct kind;
struct selector;
struct store;
struct watch;

enum { WATCH_BOOKMARK_S = 60, WATCH_TIMEOUT_S = 1800 /* when the client names none */ };

struct watch_options {
    const struct kind *kind;
    const char *version;
    const char *ns; /* "" = all; copied */
    struct selector *take_labels;
    struct selector *take_fields;
    enum form form;
    const char *include_object; /* copied */
    bool bookmarks;
    uint64_t from_rv; /* changes after this one */
    bool initial;     /* first every object as it is now */
    bool initial_end; /* and a bookmark behind the last of them */
    int64_t timeout_s;
    uint64_t now_ns;
};

struct watch *watch_new(const struct store *store, const struct watch_options *options);
void watch_free(struct watch *w);

/* Appends whole events until about budget bytes. 1: something was appended, more may follow at once;
 * -EAGAIN: nothing now; 0: this was the end (something may have been appended). */
MUST_USE int watch_next(struct watch *w, uint64_t now_ns, size_t budget, struct strbuf *out);
/* When to ask again even if nothing changes. */
uint64_t watch_due_ns(const struct watch *w);
