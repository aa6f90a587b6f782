/* SPDX-License-Identifier: Apache-2.0 */
#include "io/file.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/mem.h"
#include "base/str.h"

static void fd_close(int fd)
{
    if (fd >= 0) {
        (void)close(fd); /* data was synced before where it matters */
    }
}
AUTO_DEFINE(fd, int, fd_close);

int file_read_blocking(const char *path, char **out, size_t *out_len, struct diag *why)
{
    AUTO(fd) int fd = open(path, O_RDONLY | O_CLOEXEC);
    AUTO(strbuf) struct strbuf text = {.limit = FILE_READ_MAX};
    char piece[4096];

    if (fd < 0) {
        int r = neg_errno();
        return FAIL(why, r, "open %s: %s", path, err_text(r));
    }
    for (;;) {
        ssize_t n = read(fd, piece, sizeof(piece));
        if (n < 0 && errno != EINTR) {
            int r = neg_errno();
            return FAIL(why, r, "read %s: %s", path, err_text(r));
        }
        if (n == 0) {
            break;
        }
        strbuf_add(&text, piece, n > 0 ? (size_t)n : 0);
        if (text.overflow) {
            return FAIL(why, -ERR_TOO_LARGE, "read %s: larger than %d bytes", path, FILE_READ_MAX);
        }
    }
    if (out_len) {
        *out_len = text.len;
    }
    *out = strbuf_take(&text);
    return 0;
}

int file_read_input_blocking(struct strbuf *out)
{
    char piece[4096];
    ssize_t n;

    while ((n = read(STDIN_FILENO, piece, sizeof(piece))) != 0) {
        if (n > 0) {
            strbuf_add(out, piece, (size_t)n);
        } else if (errno != EINTR) {
            return neg_errno();
        }
    }
    return out->overflow ? -ERR_TOO_LARGE : 0;
}

int fd_write_all_blocking(int fd, const void *data, size_t len)
{
    const char *p = data;

    while (len > 0) {
        ssize_t n = write(fd, p, len);
        if (n < 0 && errno != EINTR) {
            return neg_errno();
        }
        if (n > 0) {
            p += n;
            len -= (size_t)n;
        }
    }
    return 0;
}

/* So that the rename itself survives a crash. */
static int sync_folder_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    AUTO(text)
    char *folder = slash && slash > path ? mem_dup(path, (size_t)(slash - path))
                                         : mem_strdup(slash ? "/" : ".");
    AUTO(fd) int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    return fd < 0 || fsync(fd) < 0 ? neg_errno() : 0;
}

int file_write_blocking(const char *path, const void *data, size_t len, mode_t mode,
                        struct diag *why)
{
    AUTO(strbuf) struct strbuf fresh = {0};
    int r = 0;

    strbuf_printf(&fresh, "%s.new", path);
    (void)unlink(strbuf_text(&fresh)); /* left by a crash; usually absent */
    AUTO(fd) int fd = open(strbuf_text(&fresh), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    if (fd < 0) {
        r = neg_errno();
        return FAIL(why, r, "create %s: %s", strbuf_text(&fresh), err_text(r));
    }
    r = fd_write_all_blocking(fd, data, len);
    if (r == 0 && fsync(fd) < 0) {
        r = neg_errno();
    }
    if (r == 0 && rename(strbuf_text(&fresh), path) < 0) {
        r = neg_errno();
    }
    if (r == 0) {
        r = sync_folder_of(path);
    }
    if (r < 0) {
        (void)unlink(strbuf_text(&fresh)); /* what failed is reported below */
        return FAIL(why, r, "write %s: %s", path, err_text(r));
    }
    return 0;
}

int folder_make_blocking(const char *path, mode_t mode, struct diag *why)
{
    struct stat s;

    if ((mkdir(path, mode) < 0 && errno != EEXIST) || stat(path, &s) < 0) {
        return FAIL(why, neg_errno(), "make %s", path);
    }
    if (!S_ISDIR(s.st_mode)) {
        return FAIL(why, -ENOTDIR, "%s is no folder", path);
    }
    if ((s.st_uid != 0 && s.st_uid != geteuid()) || (s.st_mode & S_IWOTH) ||
        (s.st_gid != 0 && (s.st_mode & S_IWGRP))) {
        return FAIL(why, -ERR_DENIED, "%s may be written by others: take a folder of your own",
                    path);
    }
    return 0;
}

bool file_exists_blocking(const char *path)
{
    return access(path, F_OK) == 0;
}
