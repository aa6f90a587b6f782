/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The file behind the store: one SQLite database, written in transactions that are on the disk when
 * disk_commit_blocking returns. Only the newest state is kept. The file starts with a format number;
 * a newer one is refused, and so is a second process on the same file.
 *
 * Calls block. One thread at a time: the loop at start-up, then the writer's job.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"

struct disk;
struct disk_scan;

enum { DISK_FORMAT = 1 };

struct disk_row { /* borrowed until the next call on the scan */
    const char *resource;
    const char *ns;
    const char *name;
    uint64_t rv;
    struct slice text;
};

struct disk_write {
    const char *resource;
    const char *ns;
    const char *name;
    uint64_t rv;
    struct slice text; /* p NULL: the row goes */
};

/* Creates the file (mode 0600) when absent. -ERR_VERSION: written by a newer program; -EBUSY: in use. */
MUST_USE int disk_open_blocking(const char *path, struct diag *why, struct disk **out);
void disk_close(struct disk *d);

/* The version counter of the last commit. */
uint64_t disk_rv(const struct disk *d);
MUST_USE int disk_scan_open(struct disk *d, struct diag *why, struct disk_scan **out);
/* 1 and a row, 0 at the end. */
MUST_USE int disk_scan_next_blocking(struct disk_scan *s, struct diag *why, struct disk_row *out);
void disk_scan_close(struct disk_scan *s);

/* All of them and the counter, or nothing. */
MUST_USE int disk_commit_blocking(struct disk *d, const struct disk_write *writes, size_t count,
                                  uint64_t rv, struct diag *why);

AUTO_DEFINE(disk, struct disk *, disk_close);
AUTO_DEFINE(disk_scan, struct disk_scan *, disk_scan_close);
