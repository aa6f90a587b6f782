/* SPDX-License-Identifier: Apache-2.0 */
/* Whole small files. These calls block: they belong into jobs, program start and command-line tools. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/str.h"

enum { FILE_READ_MAX = 4 << 20 };

/* The contents, zero-terminated, the caller's. -ERR_TOO_LARGE above FILE_READ_MAX. out_len may be NULL. */
MUST_USE int file_read_blocking(const char *path, char **out, size_t *out_len, struct diag *why);
/* Appends what standard input holds. -ERR_TOO_LARGE above out's limit. */
MUST_USE int file_read_input_blocking(struct strbuf *out);
/* Writes beside path, syncs, renames over it: readers see the old or the new contents, a crash too. */
MUST_USE int file_write_blocking(const char *path, const void *data, size_t len, mode_t mode,
                                 struct diag *why);
/* However many writes it takes. */
int fd_write_all_blocking(int fd, const void *data, size_t len);
/* Makes it if only it is missing. -ERR_DENIED for one that others may write in: who does could put
 * something else in the place of what we make there. */
MUST_USE int folder_make_blocking(const char *path, mode_t mode, struct diag *why);
bool file_exists_blocking(const char *path);
