/* SPDX-License-Identifier: Apache-2.0 */
#include "node/netns.h"

#include <fcntl.h>
#include <linux/netlink.h>
#include <linux/nsfs.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "node/rtnl.h"

#define OWN_NETNS "/proc/thread-self/ns/net"

static int check_kind(int fd, const char *path, struct diag *why)
{
    int kind = ioctl(fd, NS_GET_NSTYPE);

    return kind == CLONE_NEWNET ? 0 : FAIL(why, -EINVAL, "%s is no network namespace", path);
}

int netns_open(const char *path, int *out_fd, struct diag *why)
{
    /* Non-blocking, since the path may name anything, a pipe too. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

    if (fd < 0) {
        return FAIL(why, neg_errno(), "open %s", path);
    }
    int r = check_kind(fd, path, why);
    if (r < 0) {
        close(fd);
        return r;
    }
    *out_fd = fd;
    return 0;
}

int netns_open_own(int *out_fd, struct diag *why)
{
    return netns_open(OWN_NETNS, out_fd, why);
}

int netns_identify(int fd, struct netns_id *out, struct diag *why)
{
    struct stat s;
    int r = check_kind(fd, "descriptor", why);

    if (r < 0) {
        return r;
    }
    if (fstat(fd, &s) < 0) {
        return FAIL(why, neg_errno(), "look at network namespace");
    }
    *out = (struct netns_id){.device = s.st_dev, .inode = s.st_ino};
    return 0;
}

int netns_enter_blocking(struct netns_visit *v, int fd, struct diag *why)
{
    int home;
    int r = netns_open_own(&home, why);

    if (r < 0) {
        return r;
    }
    if (setns(fd, CLONE_NEWNET) < 0) {
        r = FAIL(why, neg_errno(), "enter network namespace");
        close(home);
        return r;
    }
    v->home = home;
    return 0;
}

void netns_return(struct netns_visit *v)
{
    if (v->home < 0) {
        return;
    }
    if (setns(v->home, CLONE_NEWNET) < 0) {
        abort();
    }
    close(v->home);
    v->home = -1;
}

static int raise_lo(struct diag *why)
{
    AUTO(netlink) struct netlink *n = NULL;
    unsigned lo;
    int r = netlink_open_blocking(NETLINK_ROUTE, &n, why);

    if (r < 0 || (r = rtnl_link_find_blocking(n, "lo", &lo, why)) < 0) {
        return r;
    }
    return rtnl_link_up_blocking(n, lo, why);
}

/* On the new namespace's side: pins it, then brings lo up. */
static int pin_own(const char *path, struct diag *why)
{
    if (mount(OWN_NETNS, path, "none", MS_BIND, NULL) < 0) {
        return FAIL(why, neg_errno(), "mount network namespace on %s", path);
    }
    int r = raise_lo(why);
    if (r < 0) {
        (void)umount2(path, MNT_DETACH); /* the first failure is the one to report */
    }
    return r;
}

int netns_make_blocking(const char *path, struct diag *why)
{
    NETNS_VISIT(visit);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_CREAT | O_EXCL, 0);

    if (fd < 0) {
        return FAIL(why, neg_errno(), "make %s", path);
    }
    close(fd);
    int r = netns_open_own(&visit.home, why);
    if (r == 0 && unshare(CLONE_NEWNET) < 0) {
        r = FAIL(why, neg_errno(), "make network namespace");
    }
    if (r == 0) {
        r = pin_own(path, why);
    }
    if (r < 0) {
        (void)unlink(path); /* the first failure is the one to report */
    }
    return r;
}

int netns_unmake_blocking(const char *path, struct diag *why)
{
    if (umount2(path, MNT_DETACH) < 0 && errno != EINVAL && errno != ENOENT) {
        return FAIL(why, neg_errno(), "unmount %s", path);
    }
    if (unlink(path) < 0 && errno != ENOENT) {
        return FAIL(why, neg_errno(), "remove %s", path);
    }
    return 0;
}

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
