/* SPDX-License-Identifier: Apache-2.0 */
#include "node/capture_work.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "base/map.h"
#include "base/mem.h"

static int look(struct capture_work *w)
{
    int r = w->ops->find(w->pod, w->netns_dir, &w->netns, &w->why);

    return r < 0 ? r : w->ops->inspect(w->netns, &w->rules, &w->state, &w->why);
}

static int reinstall(struct capture_work *w)
{
    int r = w->ops->inspect(w->netns, &w->rules, &w->state, &w->why);

    return r < 0 ? r : w->ops->install(w->netns, w->pod, &w->rules, &w->why);
}

static int call(struct capture_work *w)
{
    switch (w->kind) {
    case CAPTURE_LOOK:
        return look(w);
    case CAPTURE_INSTALL:
        return w->ops->install(w->netns, w->pod, &w->rules, &w->why);
    case CAPTURE_REINSTALL:
        return reinstall(w);
    case CAPTURE_PROVE:
        return w->ops->prove(w->netns, &w->rules, &w->why);
    case CAPTURE_LEAVE:
        return w->ops->leave(w->netns, &w->rules, &w->why);
    case CAPTURE_COUNT:
        return w->ops->count(w->netns, &w->count, &w->why);
    case CAPTURE_REMOVE:
        return w->ops->remove(w->netns, w->pod, &w->rules, &w->why);
    }
    return -ERR_UNSUPPORTED;
}

static void work(struct job *j)
{
    struct capture_work *w = container_of(j, struct capture_work, job);

    w->result = call(w);
}

static void release(struct capture_work *w)
{
    if (w->netns >= 0) {
        close(w->netns);
    }
    pod_free(w->pod);
    mem_free(w);
}

static void abandoned(struct job *j)
{
    release(container_of(j, struct capture_work, job));
}

struct capture_work *capture_work_start(struct jobs *jobs, const struct capture_ops *ops,
                                        const struct capture_request *q, struct task *t)
{
    int fd = q->netns < 0 ? -1 : fcntl(q->netns, F_DUPFD_CLOEXEC, 0);
    struct capture_work *w = mem_new(struct capture_work);
    int len = snprintf(w->netns_dir, sizeof(w->netns_dir), "%s", q->netns_dir);

    w->job.work = work;
    w->job.abandoned = abandoned;
    w->ops = ops;
    w->kind = q->kind;
    w->pod = pod_dup(q->pod);
    w->rules = *q->rules;
    w->netns = fd;
    if ((q->netns >= 0 && fd < 0) || len < 0 || (size_t)len >= sizeof(w->netns_dir) ||
        jobs_submit(jobs, &w->job, map_hash_str(q->pod->uid), t) < 0) {
        release(w);
        return NULL;
    }
    return w;
}

void capture_work_drop(struct capture_work *w)
{
    if (w) {
        job_abandon(&w->job);
    }
}
