/* SPDX-License-Identifier: Apache-2.0 */
/* One blocking call of capture.h under way in the job pool. Holds all it touches, so it can be
 * dropped at any time. */
#pragma once

#include "io/jobs.h"
#include "node/capture.h"

enum capture_kind {
    CAPTURE_LOOK, /* find the namespace, then inspect it */
    CAPTURE_INSTALL,
    CAPTURE_REINSTALL, /* inspect, then install: what was there must have been */
    CAPTURE_PROVE,
    CAPTURE_LEAVE,
    CAPTURE_COUNT,
    CAPTURE_REMOVE
};

struct capture_work {
    struct job job;
    const struct capture_ops *ops;
    enum capture_kind kind;
    struct pod *pod;
    struct rules rules;
    int netns;
    char netns_dir[128];
    /* once done */
    int result;
    /* of CAPTURE_LOOK, whose namespace is in netns, and of CAPTURE_REINSTALL */
    enum rules_state state;
    unsigned count; /* of CAPTURE_COUNT */
    struct diag why;
};

struct capture_request { /* borrowed for the call of capture_work_start */
    enum capture_kind kind;
    const struct pod *pod;
    const struct rules *rules;
    int netns; /* -1 for CAPTURE_LOOK */
    const char *netns_dir;
};

/* NULL: the pool is full, or descriptors are short. */
struct capture_work *capture_work_start(struct jobs *jobs, const struct capture_ops *ops,
                                        const struct capture_request *q, struct task *t);
static inline bool capture_work_is_done(const struct capture_work *w)
{
    return job_is_done(&w->job);
}
/* Done or not; NULL is fine. */
void capture_work_drop(struct capture_work *w);
