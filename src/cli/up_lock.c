/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/up_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "cli/up_plan.h"
#include "io/file.h"
#include "io/sock.h"

enum { TRIES = 100 };

/* Who held it may have removed it before we got it: then it keeps nobody out. */
static bool is_at(int fd, const char *path)
{
    struct stat held;
    struct stat there;

    return fstat(fd, &held) == 0 && stat(path, &there) == 0 && held.st_dev == there.st_dev &&
           held.st_ino == there.st_ino;
}

static int try_lock(const char *path, bool make, int *out_fd)
{
    int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | (make ? O_CREAT : 0), 0600);
    int r = fd < 0                             ? neg_errno()
            : flock(fd, LOCK_EX | LOCK_NB) < 0 ? neg_errno()
            : is_at(fd, path)                  ? 0
                                               : -ESTALE;

    if (r < 0) {
        sock_close(&fd);
    }
    *out_fd = fd;
    return r;
}

int up_lock_blocking(const char *run_dir, bool make, int *out_fd, struct diag *why)
{
    AUTO(text) char *path = up_path(run_dir, "up", ".lock");
    int r = -ESTALE;

    *out_fd = -1;
    /* Who ends takes the file away, and the directory, in whatever moment. */
    for (int i = 0; i < TRIES && (r == -ESTALE || (make && r == -ENOENT)); i++) {
        if (make && mkdir(run_dir, 0755) < 0 && errno != EEXIST) {
            return FAIL(why, neg_errno(), "make %s: %s", run_dir, err_text(neg_errno()));
        }
        r = try_lock(path, make, out_fd);
    }
    if (r == -EWOULDBLOCK || r == -ESTALE) {
        return FAIL(why, -EBUSY, "another `ambit up` or `ambit down` is at work in %s", run_dir);
    }
    return r < 0 ? FAIL(why, r, "lock %s: %s", path, err_text(r)) : 0;
}

void up_unlock_blocking(const char *run_dir, int take_fd)
{
    AUTO(text) char *path = up_path(run_dir, "up", ".lock");
    AUTO(text) char *state = up_path(run_dir, "up", ".json");

    if (take_fd >= 0 && is_at(take_fd, path) && !file_exists_blocking(state)) {
        (void)unlink(path);
        (void)rmdir(run_dir); /* with more in it, it stays */
    }
    sock_close(&take_fd);
}
