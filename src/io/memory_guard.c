/* SPDX-License-Identifier: Apache-2.0 */
#include "io/memory_guard.h"

#include <malloc.h>
#include <stdio.h>
#include <unistd.h>

#include "base/log.h"
#include "base/num.h"

enum { TRIM_PERIOD_MS = 1000 };

static struct log_scope scope = LOG_SCOPE("memory");

static uint64_t group_limit(void)
{
    unsigned long long bytes = 0;
    FILE *f = fopen("/sys/fs/cgroup/memory.max", "re");

    if (!f) {
        return 0;
    }
    int n = fscanf(f, "%llu", &bytes); /* "max" does not match */
    (void)fclose(f);                   /* read only */
    return n == 1 ? bytes : 0;
}

uint64_t memory_limit(uint64_t asked_bytes)
{
    uint64_t group = group_limit();

    return asked_bytes > 0 && group > 0 ? MIN_OF(asked_bytes, group) : MAX_OF(asked_bytes, group);
}

uint64_t memory_used(void)
{
    unsigned long long size = 0;
    unsigned long long resident = 0;
    unsigned long long shared = 0;
    FILE *f = fopen("/proc/self/statm", "re");

    if (!f) {
        return 0;
    }
    int n = fscanf(f, "%llu %llu %llu", &size, &resident, &shared);
    (void)fclose(f); /* read only */
    return n == 3 && resident > shared ? (resident - shared) * (uint64_t)sysconf(_SC_PAGESIZE) : 0;
}

static unsigned percent_of(const struct memory_guard *g)
{
    uint64_t percent = memory_used() / (g->limit_bytes / 100 + 1);

    return (unsigned)MIN_OF(percent, (uint64_t)1000);
}

static void look(struct memory_guard *g)
{
    uint64_t now = loop_now_ms(g->task.loop);
    unsigned percent = percent_of(g);

    if (percent >= MEMORY_SOFT_PERCENT && now - g->trimmed_ms >= TRIM_PERIOD_MS) {
        (void)malloc_trim(0); /* 0: nothing could be given back */
        g->trimmed_ms = now;
        percent = percent_of(g);
    }
    bool was = memory_guard_is_over(g);
    atomic_store_explicit(&g->percent, percent, memory_order_relaxed);
    if (memory_guard_is_over(g) != was) {
        log_warn(&scope, was ? "memory is there again" : "memory is short: new work is refused",
                 F_U64("percent", percent), F_U64("limit_bytes", g->limit_bytes));
    }
}

static void run(struct task *t, unsigned why)
{
    struct memory_guard *g = container_of(t, struct memory_guard, task);

    (void)why; /* only the timer wakes it */
    look(g);
    timer_set(&g->next, t, MEMORY_LOOK_MS);
}

void memory_guard_init(struct memory_guard *g, struct loop *l, uint64_t limit_bytes)
{
    *g = (struct memory_guard){.limit_bytes = limit_bytes};
    task_init(&g->task, l, "memory guard", run);
    if (limit_bytes > 0) {
        look(g);
        timer_set(&g->next, &g->task, MEMORY_LOOK_MS);
    }
}

void memory_guard_fini(struct memory_guard *g)
{
    timer_clear(&g->next);
    task_fini(&g->task);
}
