/* SPDX-License-Identifier: Apache-2.0 */
#include "node/short_log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "node/local_record.h"

/* The whole of from behind what to holds; false: not all of it. */
static bool copy_all(int from, int to, off_t size)
{
    off_t at = 0;

    while (at < size) {
        ssize_t n = copy_file_range(from, &at, to, NULL, (size_t)(size - at), 0);
        if (n <= 0) {
            return false;
        }
    }
    return true;
}

/* Older lines than those are given up; those are kept unless the disk is full. */
static void move_aside(const char *path, const char *aside, off_t size)
{
    int from = open(path, O_RDWR | O_CLOEXEC);
    int to = open(aside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    if (from >= 0 && to >= 0) {
        (void)copy_all(from, to, size); /* what could not be kept is given up, too */
    }
    if (from >= 0 && ftruncate(from, 0) < 0) {
        (void)unlink(aside); /* then it is still in the log itself */
    }
    if (from >= 0) {
        close(from);
    }
    if (to >= 0) {
        close(to);
    }
}

void short_log_keep_blocking(const char *dir, int fd, int64_t limit_bytes)
{
    char path[LOCAL_PATH_MAX + 16];
    char aside[LOCAL_PATH_MAX + 16];
    struct stat open_file;
    struct stat log;

    (void)snprintf(path, sizeof(path), "%s/log", dir);     /* fits */
    (void)snprintf(aside, sizeof(aside), "%s/log.1", dir); /* fits */
    if (fstat(fd, &open_file) == 0 && open_file.st_size > limit_bytes && stat(path, &log) == 0 &&
        log.st_dev == open_file.st_dev && log.st_ino == open_file.st_ino) {
        move_aside(path, aside, log.st_size);
    }
}
