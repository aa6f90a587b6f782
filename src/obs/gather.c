/* SPDX-License-Identifier: Apache-2.0 */
#include "obs/gather.h"

#include "base/mem.h"

/* One question to one loop; travels there and back. */
struct question {
    struct mail there;
    struct mail back;
    struct gather *gather;
    struct gather_source source;
    struct strbuf answer;
};

struct gather {
    struct loop *loop;
    struct task *owner; /* NULL once nobody waits any more */
    unsigned count;
    unsigned pending;
    struct question questions[];
};

static void destroy(struct gather *g)
{
    for (unsigned i = 0; i < g->count; i++) {
        strbuf_fini(&g->questions[i].answer);
    }
    mem_free(g);
}

static void deliver_there(struct mail *m)
{
    struct question *q = container_of(m, struct question, there);

    q->source.render(q->source.arg, &q->answer);
    loop_post(q->gather->loop, &q->back);
}

static void deliver_back(struct mail *m)
{
    struct gather *g = container_of(m, struct question, back)->gather;

    g->pending--;
    if (g->pending > 0) {
        return;
    }
    if (g->owner) {
        task_wake(g->owner, WAKE_JOB);
    } else {
        destroy(g);
    }
}

struct gather *gather_start(struct loop *l, const struct gather_source *sources, unsigned count,
                            struct task *owner)
{
    struct gather *g = mem_alloc(sizeof(*g) + count * sizeof(g->questions[0]));

    g->loop = l;
    g->owner = owner;
    g->count = count;
    g->pending = count;
    for (unsigned i = 0; i < count; i++) {
        struct question *q = &g->questions[i];
        q->there.deliver = deliver_there;
        q->back.deliver = deliver_back;
        q->gather = g;
        q->source = sources[i];
        loop_post(sources[i].loop, &q->there);
    }
    if (count == 0) {
        task_wake(owner, WAKE_JOB);
    }
    return g;
}

bool gather_is_done(const struct gather *g)
{
    return g->pending == 0;
}

void gather_write(const struct gather *g, struct strbuf *out)
{
    bool any = false;

    strbuf_putc(out, '[');
    for (unsigned i = 0; i < g->count; i++) {
        const struct strbuf *a = &g->questions[i].answer;
        if (a->len > 0) {
            strbuf_puts(out, any ? "," : "");
            strbuf_add(out, strbuf_text(a), a->len);
            any = true;
        }
    }
    strbuf_putc(out, ']');
}

void gather_free(struct gather *g)
{
    if (g && g->pending == 0) {
        destroy(g);
    } else if (g) {
        g->owner = NULL; /* freed when the last answer comes */
    }
}
