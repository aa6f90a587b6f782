/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A thread that runs a loop. Between worker_new and worker_start, and again after worker_stop, the
 * loop belongs to the caller, who sets up and takes down what lives on it (tasks, hooks that adopt
 * configuration, listeners); in between it belongs to the thread, and only loop_post, loop_poke and
 * published snapshots reach it.
 */
#pragma once

#include "io/loop.h"

enum { WORKER_ANY_CPU = -1 };

struct worker;

/* Stops if need be. The loop goes with it. */
void worker_free(struct worker *w);
/* name is cut to 15 characters. Nothing runs yet. */
struct worker *worker_new(const char *name, struct diag *why) FREED_BY(worker_free);
AUTO_DEFINE(worker, struct worker *, worker_free);

struct loop *worker_loop(struct worker *w); /* borrowed */
/* cpu: the processor to stay on, or WORKER_ANY_CPU. Once. */
MUST_USE int worker_start(struct worker *w, int cpu, struct diag *why);
/* Waits for the turn under way. Fine on a worker that does not run. */
void worker_stop(struct worker *w);

/* Processors for the threads of this process: what its affinity and the quota of its control group
 * allow, rounded up. Reads a file, so at start only. */
unsigned worker_cpus(void);
