/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Network namespaces: who one is (device and inode of its file), opening and making one, and visiting
 * one. A visit moves the calling thread, so it belongs on a job thread or in a short-lived program;
 * the loop thread never leaves its namespace. A thread that cannot come home aborts the process: it
 * must not go on in the wrong network.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

struct netns_id {
    uint64_t device;
    uint64_t inode; /* 0 = none */
};

static inline bool netns_id_equal(struct netns_id a, struct netns_id b)
{
    return a.device == b.device && a.inode == b.inode;
}

/* A descriptor, the caller's. -EINVAL if the file is no network namespace. */
MUST_USE int netns_open(const char *path, int *out_fd, struct diag *why);
/* The calling thread's own. */
MUST_USE int netns_open_own(int *out_fd, struct diag *why);
/* -EINVAL if fd is no network namespace. */
MUST_USE int netns_identify(int fd, struct netns_id *out, struct diag *why);

struct netns_visit {
    int home; /* -1: not away */
};

MUST_USE int netns_enter_blocking(struct netns_visit *v, int fd, struct diag *why);
void netns_return(struct netns_visit *v); /* fine on a visit that never began */

static inline void netns_visit_release(struct netns_visit *v)
{
    netns_return(v);
}
/* NETNS_VISIT(v); at the top of a block: whatever the way out, the thread is home again. */
#define NETNS_VISIT(v)                                                                             \
    struct netns_visit v __attribute__((cleanup(netns_visit_release), unused)) = {.home = -1}

/* A new namespace with lo up, kept alive by a mount on path (which is made; its folder exists). */
MUST_USE int netns_make_blocking(const char *path, struct diag *why);
/* Takes the mount and the file away; the namespace goes with its last user. Fine if it is not there. */
MUST_USE int netns_unmake_blocking(const char *path, struct diag *why);

/* /proc/sys/net of the namespace the thread is in. key: "ipv4/tcp_fwmark_accept". */
MUST_USE int sysctl_set_blocking(const char *key, const char *value, struct diag *why);
/* 1 or 0; 0 also if there is no such key. */
bool sysctl_is_set_blocking(const char *key);
