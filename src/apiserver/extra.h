/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Paths of the API behind which are no objects: another loop of the program is asked, and its text is
 * the answer. For administrators alone. Everything here but the rendering is the server's loop's.
 */
#pragma once

#include <stdbool.h>

#include "base/list.h"
#include "base/str.h"
#include "io/loop.h"

enum {
    EXTRA_ASKS_MAX = 4, /* at once */
    EXTRA_BYTES_MAX = 48 << 20
};

struct extra {          /* everything is borrowed */
    const char *prefix; /* "/apis/ambit.io/v1/" */
    struct loop *loop;
    /* On that loop; path is what stands behind the prefix, without a query. *status is 200 when it is
     * called; of another one the text is the sentence. out has a limit. */
    void (*render)(void *arg, const char *path, unsigned *status, struct strbuf *out);
    void *arg;
};

struct extra_ask;

bool extra_owns(const struct extra *e, struct slice target);
/* owner is woken with WAKE_JOB when it is done. all: every ask that is under way. */
struct extra_ask *extra_ask_new(const struct extra *e, struct slice target, struct list *all,
                                struct loop *home, struct task *owner);
bool extra_ask_is_done(const struct extra_ask *a);
/* Once, when it is done: out is the caller's. The ask is gone. */
unsigned extra_ask_take(struct extra_ask *a, struct strbuf *out);
/* Nobody waits any more; NULL does nothing. */
void extra_ask_abandon(struct extra_ask *a);
/* The server's loop ends; the other one must not run any more. */
void extra_end_all(struct list *all);
