/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Brings the store's changes to its file: many changes a transaction, one transaction at a time, in a
 * job, so that the loop never waits for the disk. When writing fails it says so in the log and tries
 * again every second: what was not acknowledged stays unacknowledged, readers of it wait, and once
 * too much waits the API answers 503.
 */
#pragma once

#include <stdbool.h>

#include "base/err.h"

struct jobs;
struct loop;
struct store;
struct store_writer;

enum { STORE_WRITER_BATCH = 1024, STORE_WRITER_RETRY_MS = 1000 };

/* Opens or creates the file and fills the store, which is new and empty. Blocks: at program start. */
MUST_USE int store_writer_open_blocking(const char *path, struct store *store, struct diag *why,
                                        struct store_writer **out);
/* From now on changes are written. jobs must outlive the writer. */
void store_writer_start(struct store_writer *w, struct loop *l, struct jobs *jobs);
/* The last attempt failed. */
bool store_writer_is_failing(const struct store_writer *w);
/* Changes that are not durable yet are dropped; nobody has been told of them. Before the store goes. */
void store_writer_close(struct store_writer *w);

AUTO_DEFINE(store_writer, struct store_writer *, store_writer_close);
