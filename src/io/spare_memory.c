/* SPDX-License-Identifier: Apache-2.0 */
#include "io/spare_memory.h"

#include <malloc.h>

#include "base/list.h"
#include "base/log.h"
#include "base/num.h"

static struct log_scope scope = LOG_SCOPE("memory");

static size_t free_bytes(void)
{
    struct mallinfo2 m = mallinfo2();

    return m.fordblks;
}

static void run(struct task *t, unsigned why)
{
    struct spare_memory *s = container_of(t, struct spare_memory, task);
    size_t now = free_bytes();

    (void)why; /* only the timer wakes it */
    s->hollow = MIN_OF(s->hollow, now);
    if (MIN_OF(now, s->before) - s->hollow > SPARE_KEPT_BYTES) {
        (void)malloc_trim(0); /* 0: nothing could be given back */
        log_debug(&scope, "gave spare memory back", F_U64("free_bytes", now));
        s->hollow = now;
    }
    s->before = now;
    timer_set(&s->next, t, SPARE_PERIOD_MS);
}

void spare_memory_init(struct spare_memory *s, struct loop *l)
{
    *s = (struct spare_memory){.before = 0, .hollow = 0};
    task_init(&s->task, l, "spare memory", run);
    timer_set(&s->next, &s->task, SPARE_PERIOD_MS);
}

void spare_memory_fini(struct spare_memory *s)
{
    timer_clear(&s->next);
    task_fini(&s->task);
}
