/* SPDX-License-Identifier: Apache-2.0 */
/* The blocking parts of a local workload's life, one at a time in the job pool. Holds all it touches,
 * so it can be dropped at any time. */
#pragma once

#include "io/jobs.h"
#include "node/local_record.h"

enum local_work_kind {
    LOCAL_WORK_PREPARE, /* folder, hosts, resolv.conf, record */
    LOCAL_WORK_NETWORK, /* record, namespace, link, addresses */
    LOCAL_WORK_LAUNCH,  /* shim and command, record */
    LOCAL_WORK_EXIT,    /* reap the shim, read how the command ended */
    LOCAL_WORK_TEARDOWN /* processes, link, namespace, folder */
};

enum { LOCAL_STDIO = 3 };
/* Closes and forgets those that are there. */
void local_stdio_close(int fds[static LOCAL_STDIO]);

struct local_work {
    struct job job;
    enum local_work_kind kind;
    struct json *record;
    int stdio[LOCAL_STDIO]; /* of LOCAL_WORK_LAUNCH; -1: none given, output goes to the log file */
    /* once done */
    int result;
    struct diag why;
    pid_t shim; /* of LOCAL_WORK_LAUNCH, like the next two */
    pid_t command;
    uint64_t start_time;
    struct local_exit exit; /* of LOCAL_WORK_EXIT */
};

/* NULL: the pool is full. stdio is duplicated. */
struct local_work *local_work_start(struct jobs *jobs, enum local_work_kind kind,
                                    const struct local_record *r,
                                    const int stdio[static LOCAL_STDIO], struct task *t);
void local_work_drop(struct local_work *w); /* NULL is fine */
