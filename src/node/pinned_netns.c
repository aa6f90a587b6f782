/* SPDX-License-Identifier: Apache-2.0 */
#include "node/pinned_netns.h"

#include <fcntl.h>
#include <linux/netlink.h>
#include <sched.h>
#include <sys/mount.h>
#include <unistd.h>

#include "io/netns.h"
#include "node/rtnl.h"

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
    if (mount("/proc/thread-self/ns/net", path, "none", MS_BIND, NULL) < 0) {
        return FAIL(why, neg_errno(), "mount network namespace on %s", path);
    }
    int r = raise_lo(why);
    if (r < 0) {
        (void)umount2(path, MNT_DETACH); /* the first failure is the one to report */
    }
    return r;
}

int pinned_netns_make_blocking(const char *path, struct diag *why)
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

int pinned_netns_unmake_blocking(const char *path, struct diag *why)
{
    if (umount2(path, MNT_DETACH) < 0 && errno != EINVAL && errno != ENOENT) {
        return FAIL(why, neg_errno(), "unmount %s", path);
    }
    if (unlink(path) < 0 && errno != ENOENT) {
        return FAIL(why, neg_errno(), "remove %s", path);
    }
    return 0;
}
