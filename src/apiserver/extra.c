/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/extra.h"

#include <string.h>

#include "base/mem.h"
#include "codec/url.h"

struct extra_ask {
    struct mail there;
    struct mail back;
    struct list in_all;
    struct extra extra;
    struct loop *home;  /* NULL: it is gone */
    struct task *owner; /* NULL: nobody waits any more */
    char *path;
    unsigned status;
    struct strbuf answer;
    bool done;
};

static void destroy(struct extra_ask *a)
{
    list_remove(&a->in_all);
    mem_free(a->path);
    strbuf_fini(&a->answer);
    mem_free(a);
}

static void deliver_there(struct mail *m)
{
    struct extra_ask *a = container_of(m, struct extra_ask, there);

    if (!a->home) {
        destroy(a);
        return;
    }
    a->extra.render(a->extra.arg, a->path, &a->status, &a->answer);
    loop_post(a->home, &a->back);
}

static void deliver_back(struct mail *m)
{
    struct extra_ask *a = container_of(m, struct extra_ask, back);

    a->done = true;
    list_remove(&a->in_all);
    if (a->owner) {
        task_wake(a->owner, WAKE_JOB);
    } else {
        destroy(a);
    }
}

bool extra_owns(const struct extra *e, struct slice target)
{
    return e->prefix && slice_has_prefix(target, e->prefix);
}

struct extra_ask *extra_ask_new(const struct extra *e, struct slice target, struct list *all,
                                struct loop *home, struct task *owner)
{
    struct extra_ask *a = mem_new(struct extra_ask);
    size_t skip = strlen(e->prefix);
    struct slice path;
    struct slice query;

    url_split(target, &path, &query);
    a->extra = *e;
    a->home = home;
    a->owner = owner;
    a->path = mem_dup(path.p + skip, path.len - skip);
    a->status = 200;
    a->answer.limit = EXTRA_BYTES_MAX;
    a->there.deliver = deliver_there;
    a->back.deliver = deliver_back;
    list_append(all, &a->in_all);
    loop_post(e->loop, &a->there);
    return a;
}

bool extra_ask_is_done(const struct extra_ask *a)
{
    return a->done;
}

unsigned extra_ask_take(struct extra_ask *a, struct strbuf *out)
{
    unsigned status = a->answer.overflow ? 413 : a->status;

    *out = a->answer;
    a->answer = (struct strbuf){0};
    destroy(a);
    return status;
}

void extra_ask_abandon(struct extra_ask *a)
{
    if (a && a->done) {
        destroy(a);
    } else if (a) {
        a->owner = NULL; /* freed when the answer comes */
    }
}

void extra_end_all(struct list *all)
{
    struct list *n;

    while ((n = list_take_first(all))) {
        struct extra_ask *a = container_of(n, struct extra_ask, in_all);
        a->home = NULL; /* freed when the question, or the answer, is delivered */
        a->owner = NULL;
    }
}
