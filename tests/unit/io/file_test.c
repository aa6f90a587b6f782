/* SPDX-License-Identifier: Apache-2.0 */
#include "io/file.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "t.h"

static int make_in(const char *dir, const char *name)
{
    char path[96];

    (void)snprintf(path, sizeof(path), "%s/%s", dir, name);
    return folder_make_blocking(path, 0711, NULL);
}

static int change(const char *dir, const char *name, mode_t mode, uid_t owner, gid_t group)
{
    char path[96];

    (void)snprintf(path, sizeof(path), "%s/%s", dir, name);
    return chmod(path, mode) < 0 || chown(path, owner, group) < 0 ? -1 : 0;
}

TEST(a_folder_that_others_may_write_in_is_refused)
{
    enum { NOBODY = 65534 };
    char dir[] = "/tmp/file-test-XXXXXX";
    char path[96];

    CHECK(mkdtemp(dir));
    CHECK_INT(make_in(dir, "a"), 0);
    CHECK_INT(make_in(dir, "a"), 0);
    static const mode_t open_to_others[] = {0777, 0771, 01777, 0713};
    for (size_t i = 0; i < ARRAY_LEN(open_to_others); i++) {
        CHECK_INT(change(dir, "a", open_to_others[i], geteuid(), NOBODY), 0);
        CHECK_INT(make_in(dir, "a"), -ERR_DENIED);
    }
    CHECK_INT(change(dir, "a", 0700, NOBODY, 0), 0);
    CHECK_INT(make_in(dir, "a"), -ERR_DENIED);
    CHECK_INT(change(dir, "a", 0775, geteuid(), 0), 0);
    CHECK_INT(make_in(dir, "a"), 0);
    CHECK_INT(make_in(dir, "b/c"), -ENOENT);
    (void)snprintf(path, sizeof(path), "%s/f", dir);
    CHECK_INT(file_write_blocking(path, "x", 1, 0600, NULL), 0);
    CHECK_INT(make_in(dir, "f"), -ENOTDIR);
    CHECK_INT(unlink(path), 0);
    (void)snprintf(path, sizeof(path), "%s/a", dir);
    CHECK_INT(rmdir(path), 0);
    CHECK_INT(rmdir(dir), 0);
}
