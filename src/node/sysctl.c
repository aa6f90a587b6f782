/* SPDX-License-Identifier: Apache-2.0 */
#include "node/sysctl.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void sysctl_path(char *path, size_t room, const char *key)
{
    int n = snprintf(path, room, "/proc/sys/net/%s", key);

    if (n < 0 || (size_t)n >= room) {
        path[0] = '\0'; /* opening it says ENOENT */
    }
}

int sysctl_set_blocking(const char *key, const char *value, struct diag *why)
{
    char path[128];

    sysctl_path(path, sizeof(path), key);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0) {
        return FAIL(why, neg_errno(), "open sysctl net/%s", key);
    }
    int r = 0;
    if (write(fd, value, strlen(value)) < 0) {
        r = FAIL(why, neg_errno(), "set sysctl net/%s to %s", key, value);
    }
    close(fd);
    return r;
}

bool sysctl_is_set_blocking(const char *key)
{
    char path[128];
    char value = '0';

    sysctl_path(path, sizeof(path), key);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return false;
    }
    ssize_t n = read(fd, &value, 1);
    close(fd);
    return n == 1 && value != '0';
}
