/* SPDX-License-Identifier: Apache-2.0 */
#include "io/netns.h"

#include <fcntl.h>
#include <linux/nsfs.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/ref.h"
#include "io/sock.h"

static struct log_scope scope = LOG_SCOPE("netns");

struct netns {
    struct aref refs;
    int fd;
    dev_t device;
    ino_t inode;
};

struct netns *netns_ref(struct netns *n)
{
    aref_get(&n->refs);
    return n;
}

struct netns *netns_unref(struct netns *n)
{
    if (n && aref_put(&n->refs)) {
        sock_close(&n->fd);
        mem_free(n);
    }
    return NULL;
}

int netns_from_fd(struct netns **out, int fd, struct diag *why)
{
    struct stat st;

    if (fstat(fd, &st) < 0) {
        int r = FAIL(why, neg_errno(), "look at a namespace descriptor");
        sock_close(&fd);
        return r;
    }
    struct netns *n = mem_new(struct netns);
    aref_init(&n->refs);
    n->fd = fd;
    n->device = st.st_dev;
    n->inode = st.st_ino;
    *out = n;
    return 0;
}

int netns_from_path(struct netns **out, const char *path, struct diag *why)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);

    return fd < 0 ? FAIL(why, neg_errno(), "open namespace %s: %s", path, err_text(neg_errno()))
                  : netns_from_fd(out, fd, why);
}

int netns_from_thread(struct netns **out, struct diag *why)
{
    return netns_from_path(out, "/proc/thread-self/ns/net", why);
}

bool netns_is_same(const struct netns *a, const struct netns *b)
{
    return a->device == b->device && a->inode == b->inode;
}

bool netns_is_genuine(const struct netns *n)
{
    return ioctl(n->fd, NS_GET_NSTYPE) == CLONE_NEWNET;
}

int netns_fd(const struct netns *n)
{
    return n->fd;
}

int netns_enter(const struct netns *n, struct diag *why)
{
    if (setns(n->fd, CLONE_NEWNET) < 0) {
        return FAIL(why, neg_errno(), "enter a network namespace");
    }
    return 0;
}

void netns_go_home(const struct netns *home)
{
    struct diag why;

    if (netns_enter(home, &why) < 0) {
        log_error(&scope, "cannot leave a workload's network namespace", F_DIAG(&why));
        abort();
    }
}
