/* SPDX-License-Identifier: Apache-2.0 */
#include "io/netns.h"

#include <fcntl.h>
#include <linux/nsfs.h>
#include <sched.h>
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
    struct netns_id id;
};

/* ---- descriptors */

static bool is_genuine(int fd)
{
    return ioctl(fd, NS_GET_NSTYPE) == CLONE_NEWNET;
}

static int look_at(int fd, struct netns_id *out, struct diag *why)
{
    struct stat s;

    if (fstat(fd, &s) < 0) {
        return FAIL(why, neg_errno(), "look at network namespace");
    }
    *out = (struct netns_id){.device = s.st_dev, .inode = s.st_ino};
    return 0;
}

int netns_open(const char *path, int *out_fd, struct diag *why)
{
    /* Non-blocking, since the path may name anything, a pipe too. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);

    if (fd < 0) {
        return FAIL(why, neg_errno(), "open namespace %s: %s", path, err_text(neg_errno()));
    }
    if (!is_genuine(fd)) {
        sock_close(&fd);
        return FAIL(why, -EINVAL, "%s is no network namespace", path);
    }
    *out_fd = fd;
    return 0;
}

int netns_open_own(int *out_fd, struct diag *why)
{
    return netns_open("/proc/thread-self/ns/net", out_fd, why);
}

int netns_identify(int fd, struct netns_id *out, struct diag *why)
{
    return is_genuine(fd) ? look_at(fd, out, why)
                          : FAIL(why, -EINVAL, "descriptor is no network namespace");
}

/* ---- moving */

static int move_to(int fd, struct diag *why)
{
    return setns(fd, CLONE_NEWNET) < 0 ? FAIL(why, neg_errno(), "enter a network namespace") : 0;
}

static void move_home(int fd)
{
    struct diag why;

    if (move_to(fd, &why) < 0) {
        log_error(&scope, "cannot leave a workload's network namespace", F_DIAG(&why));
        abort();
    }
}

int netns_enter_blocking(struct netns_visit *v, int fd, struct diag *why)
{
    int home;
    int r = netns_open_own(&home, why);

    if (r < 0) {
        return r;
    }
    r = move_to(fd, why);
    if (r < 0) {
        sock_close(&home);
        return r;
    }
    v->home = home;
    return 0;
}

int netns_enter_path_blocking(struct netns_visit *v, const char *path, struct diag *why)
{
    int fd = -1;
    int r = netns_open(path, &fd, why);

    if (r == 0) {
        r = netns_enter_blocking(v, fd, why);
        sock_close(&fd);
    }
    return r;
}

void netns_return(struct netns_visit *v)
{
    if (v->home >= 0) {
        move_home(v->home);
        sock_close(&v->home);
    }
}

/* ---- held by many */

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

int netns_from_fd(struct netns **out, int take_fd, struct diag *why)
{
    struct netns_id id;
    int r = look_at(take_fd, &id, why);

    if (r < 0) {
        sock_close(&take_fd);
        return r;
    }
    struct netns *n = mem_new(struct netns);
    aref_init(&n->refs);
    n->fd = take_fd;
    n->id = id;
    *out = n;
    return 0;
}

int netns_from_thread(struct netns **out, struct diag *why)
{
    int fd;
    int r = netns_open_own(&fd, why);

    return r < 0 ? r : netns_from_fd(out, fd, why);
}

bool netns_is_same(const struct netns *a, const struct netns *b)
{
    return netns_id_equal(a->id, b->id);
}

bool netns_is_genuine(const struct netns *n)
{
    return is_genuine(n->fd);
}

int netns_fd(const struct netns *n)
{
    return n->fd;
}

int netns_enter(const struct netns *n, struct diag *why)
{
    return move_to(n->fd, why);
}

void netns_go_home(const struct netns *home)
{
    move_home(home->fd);
}
