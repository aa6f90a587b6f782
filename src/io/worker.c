/* SPDX-License-Identifier: Apache-2.0 */
#include "io/worker.h"

#include <sched.h>
#include <stdio.h>

#include "base/mem.h"
#include "base/num.h"
#include "io/thread_int.h"

struct worker {
    struct loop *loop;
    char *name;
    pthread_t thread;
    bool runs;
};

static void *thread_main(void *arg)
{
    loop_run(arg);
    return NULL;
}

static unsigned affinity(void)
{
    cpu_set_t set;

    if (sched_getaffinity(0, sizeof(set), &set) == 0 && CPU_COUNT(&set) > 0) {
        return (unsigned)CPU_COUNT(&set);
    }
    return 1;
}

/* 0: not limited. */
static unsigned quota(void)
{
    unsigned long long each = 0;
    unsigned long long period = 0;
    FILE *f = fopen("/sys/fs/cgroup/cpu.max", "re");

    if (!f) {
        return 0;
    }
    int n = fscanf(f, "%llu %llu", &each, &period); /* "max 100000" does not match */
    (void)fclose(f);                                /* read only */
    return n == 2 && period > 0 ? (unsigned)((each + period - 1) / period) : 0;
}

unsigned worker_cpus(void)
{
    unsigned cpus = affinity();
    unsigned limit = quota();

    return limit > 0 ? MIN_OF(limit, cpus) : cpus;
}

struct worker *worker_new(const char *name, struct diag *why)
{
    struct loop *l = loop_new(why);

    if (!l) {
        return NULL;
    }
    struct worker *w = mem_new(struct worker);
    w->loop = l;
    w->name = mem_strdup(name);
    return w;
}

void worker_free(struct worker *w)
{
    if (w) {
        worker_stop(w);
        loop_free(w->loop);
        mem_free(w->name);
        mem_free(w);
    }
}

struct loop *worker_loop(struct worker *w)
{
    return w->loop;
}

static int pin(pthread_t thread, int cpu)
{
    cpu_set_t set;

    if (cpu == WORKER_ANY_CPU) {
        return 0;
    }
    CPU_ZERO(&set);
    CPU_SET((size_t)cpu, &set);
    return -pthread_setaffinity_np(thread, sizeof(set), &set);
}

int worker_start(struct worker *w, int cpu, struct diag *why)
{
    if (cpu < WORKER_ANY_CPU || cpu >= CPU_SETSIZE) {
        return FAIL(why, -EINVAL, "run %s on processor %d", w->name, cpu);
    }
    int r = thread_start(&w->thread, w->name, thread_main, w->loop, why);
    if (r < 0) {
        return r;
    }
    w->runs = true;
    r = pin(w->thread, cpu);
    if (r < 0) {
        worker_stop(w);
        return FAIL(why, r, "run %s on processor %d", w->name, cpu);
    }
    return 0;
}

void worker_stop(struct worker *w)
{
    if (w->runs) {
        loop_stop(w->loop);
        (void)pthread_join(w->thread, NULL); /* fails only for a thread that is none */
        w->runs = false;
    }
}
