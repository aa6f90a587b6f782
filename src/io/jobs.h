/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A bounded pool of threads for work that may block or takes long: handshakes, files, name lookups,
 * entering a network namespace. Fair: jobs wait in lanes, one a key, and the lanes take turns, so one
 * busy pod does not starve the others.
 *
 * The submitter embeds struct job in an object of its own. work() runs in a pool thread and touches
 * only that object; then the submitter's task is woken with WAKE_JOB on its own loop.
 */
#pragma once

#include <stdatomic.h>

#include "io/loop.h"

struct job {
    void (*work)(struct job *j);
    /* Called on the loop instead of the wake when the job was abandoned: frees the object. */
    void (*abandoned)(struct job *j);
    /* private to io/ */
    struct mail mail;
    struct task *task; /* NULL once abandoned */
    struct loop *loop;
    struct jobs *pool;
    struct list in_lane;
    struct lane *lane;
    atomic_int state;
};

struct jobs;

/* Waits for running jobs. Comes after every submitter was torn down (job_abandon) and before its loop
 * is freed: the loop hands the last finished jobs to abandoned(). A job still queued reads as done
 * although work() never ran. */
void jobs_free(struct jobs *p);
/* At most limit jobs queued, and shares beyond (jobs_share); at most lane_limit of one lane. */
struct jobs *jobs_new(unsigned threads, unsigned limit, unsigned lane_limit, struct diag *why)
    FREED_BY(jobs_free);
AUTO_DEFINE(jobs, struct jobs *, jobs_free);

/* How many a lane may have although all lanes together are at the limit: who came first does not keep
 * the others out. A quarter of the limit is shared out for that, the more lanes the less each. */
static inline unsigned jobs_share(unsigned limit, size_t lanes)
{
    return (unsigned)(limit / 4 / lanes);
}

/* -ERR_LIMIT when the pool (the lane having its share) or the lane is full: shed load. j must stay
 * where it is until it is done. The caller has set work and abandoned; a finished job may be submitted
 * again. */
MUST_USE int jobs_submit(struct jobs *p, struct job *j, uint64_t lane, struct task *t);
bool job_is_done(const struct job *j);
/* The submitter goes away. The object is not the caller's any more: abandoned() gets it, at once when
 * the job was still queued or already done, later when it is running. */
void job_abandon(struct job *j);

struct jobs_stats {
    unsigned queued;
    unsigned running;
    uint64_t done;
    uint64_t refused;
};
struct jobs_stats jobs_stats(struct jobs *p); /* any thread */
