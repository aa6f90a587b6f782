/* SPDX-License-Identifier: Apache-2.0 */
#include "node/procfs.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/num.h"
#include "base/str.h"

size_t procfs_read_blocking(const char *proc, const char *pid, const char *name, char *out,
                            size_t room)
{
    char path[512];
    int n = snprintf(path, sizeof(path), "%s/%s/%s", proc, pid, name);

    out[0] = '\0';
    if (n < 0 || (size_t)n >= sizeof(path)) {
        return 0;
    }
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return 0;
    }
    ssize_t len = read(fd, out, room - 1);
    close(fd);
    out[len > 0 ? len : 0] = '\0';
    return len > 0 ? (size_t)len : 0;
}

/* Field 22 of stat. The name in field 2 may hold anything, so fields are counted from its bracket. */
int procfs_start_time_blocking(const char *proc, const char *pid, uint64_t *out)
{
    enum { FIELDS_BEHIND_NAME = 20, STAT_BYTES = 1024 };
    char text[STAT_BYTES];
    struct slice field = {NULL, 0};

    if (procfs_read_blocking(proc, pid, "stat", text, sizeof(text)) == 0) {
        return -ERR_NOT_FOUND;
    }
    const char *name_end = strrchr(text, ')');
    struct slice rest = slice_trim(slice_of(name_end ? name_end + 1 : ""));
    for (int i = 0; i < FIELDS_BEHIND_NAME; i++) {
        (void)slice_cut(rest, ' ', &field, &rest); /* too few fields leave one that is no number */
    }
    return num_parse_u64(field.p, field.len, UINT64_MAX, out) < 0 ? -ERR_NOT_FOUND : 0;
}
