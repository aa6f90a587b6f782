/* SPDX-License-Identifier: Apache-2.0 */
#include "node/pod_netns.h"

#include <ctype.h>
#include <dirent.h>
#include <linux/netlink.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "io/netns.h"
#include "node/procfs.h"
#include "node/rtnl.h"

enum { CGROUP_BYTES = 4096, UID_DIGITS = 32 };

static bool same_letter(char a, char b)
{
    return a == b || (ispunct((unsigned char)a) && ispunct((unsigned char)b));
}

static bool starts_with_uid(struct slice path, const char *uid)
{
    size_t len = strlen(uid);

    if (path.len <= len) {
        return false; /* the container's own part follows */
    }
    for (size_t i = 0; i < len; i++) {
        if (!same_letter(path.p[i], uid[i])) {
            return false;
        }
    }
    return ispunct((unsigned char)path.p[len]) != 0;
}

static bool is_pod_part(const char *p)
{
    return ispunct((unsigned char)p[0]) && p[1] == 'p' && p[2] == 'o' && p[3] == 'd';
}

/* A UUID, or the hash that static pods have for one. */
static bool starts_with_any_uid(struct slice path)
{
    unsigned digits = 0;

    for (size_t i = 0; i < path.len && path.p[i] != '/'; i++) {
        if (isxdigit((unsigned char)path.p[i])) {
            digits++;
        } else if (!ispunct((unsigned char)path.p[i])) {
            break;
        }
    }
    return digits >= UID_DIGITS;
}

bool pod_netns_is_cgroup_of(struct slice line, const char *uid)
{
    enum { POD_PART = 4 };
    struct slice path;
    struct slice skipped;

    if (uid[0] == '\0' || !slice_cut(line, ':', &skipped, &path) ||
        !slice_cut(path, ':', &skipped, &path)) {
        return false;
    }
    for (size_t i = 0; i + POD_PART < path.len; i++) {
        struct slice rest = {path.p + i + POD_PART, path.len - i - POD_PART};
        if (is_pod_part(path.p + i) && starts_with_uid(rest, uid)) {
            return true;
        }
        if (is_pod_part(path.p + i) && starts_with_any_uid(rest)) {
            return false; /* what is below another pod's group was named by that pod */
        }
    }
    return false;
}

static bool belongs_to(const char *proc, const char *pid, const char *uid)
{
    char text[CGROUP_BYTES];
    struct slice rest = {text, procfs_read_blocking(proc, pid, "cgroup", text, sizeof(text))};
    struct slice line;
    bool more;

    do {
        more = slice_cut(rest, '\n', &line, &rest);
        if (pod_netns_is_cgroup_of(line, uid)) {
            return true;
        }
    } while (more);
    return false;
}

static bool holds_address(int netns, const struct pod *pod)
{
    NETNS_VISIT(visit);
    AUTO(netlink) struct netlink *n = NULL;
    bool found = false;

    if (netns_enter_blocking(&visit, netns, NULL) < 0 ||
        netlink_open_blocking(NETLINK_ROUTE, &n, NULL) < 0) {
        return false;
    }
    for (unsigned i = 0; i < pod->ip_count && !found; i++) {
        if (rtnl_has_address_blocking(n, &pod->ips[i], &found, NULL) < 0) {
            return false;
        }
    }
    return found;
}

struct search {
    const char *proc;
    const struct pod *pod;
    struct netns_id own; /* the node's: never a pod's */
    int fd;              /* the best so far; -1 */
    uint64_t started;
};

static void consider(struct search *s, const char *pid)
{
    char path[512];
    struct netns_id id;

    uint64_t started;
    int fd;
    int n = snprintf(path, sizeof(path), "%s/%s/ns/net", s->proc, pid);

    if (n < 0 || (size_t)n >= sizeof(path) || !belongs_to(s->proc, pid, s->pod->uid) ||
        procfs_start_time_blocking(s->proc, pid, &started) < 0) {
        return;
    }
    if ((s->fd >= 0 && started >= s->started) || netns_open(path, &fd, NULL) < 0) {
        return;
    }
    if (netns_identify(fd, &id, NULL) < 0 || netns_id_equal(id, s->own) ||
        !holds_address(fd, s->pod)) {
        close(fd);
        return;
    }
    if (s->fd >= 0) {
        close(s->fd);
    }
    s->fd = fd;
    s->started = started;
}

static int note_own(struct search *s, struct diag *why)
{
    int fd;
    int r = netns_open_own(&fd, why);

    if (r == 0) {
        r = netns_identify(fd, &s->own, why);
        close(fd);
    }
    return r;
}

int pod_netns_find_blocking(const char *proc, const struct pod *pod, int *out_fd, struct diag *why)
{
    DIR *dir = opendir(proc);
    const struct dirent *e;

    if (!dir) {
        return FAIL(why, neg_errno(), "open %s", proc);
    }
    struct search s = {.proc = proc, .pod = pod, .fd = -1};
    int r = note_own(&s, why);
    while (r == 0 && (e = readdir(dir))) { // the stream is ours
        if (isdigit((unsigned char)e->d_name[0])) {
            consider(&s, e->d_name);
        }
    }
    closedir(dir);
    if (r == 0 && s.fd < 0) {
        return FAIL(why, -ERR_NOT_FOUND, "namespace of pod %s/%s", pod->namespace, pod->name);
    }
    if (r == 0) {
        *out_fd = s.fd;
    }
    return r;
}
