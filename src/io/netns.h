/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Network namespaces: which one a descriptor names, opening one, moving a thread into one. While a
 * descriptor is open the kernel keeps the namespace alive, so it is let go as soon as its workload
 * goes. Moving needs CAP_SYS_ADMIN, takes about a microsecond and moves the calling thread, and only
 * it: whoever leaves comes home in the same function. A thread that cannot come home aborts the
 * process: it must not go on in the wrong network.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/auto.h"
#include "base/err.h"

/* Two descriptors name the same namespace when device and inode agree (contract 7.4). */
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

/* ---- a visit: for job threads and short-lived programs */

struct netns_visit {
    int home; /* -1: not away */
};

MUST_USE int netns_enter_blocking(struct netns_visit *v, int fd, struct diag *why);
/* The one at that path. */
MUST_USE int netns_enter_path_blocking(struct netns_visit *v, const char *path, struct diag *why);
void netns_return(struct netns_visit *v); /* fine on a visit that never began */

static inline void netns_visit_release(struct netns_visit *v)
{
    netns_return(v);
}
/* NETNS_VISIT(v); at the top of a block: whatever the way out, the thread is home again. */
#define NETNS_VISIT(v)                                                                             \
    struct netns_visit v __attribute__((cleanup(netns_visit_release), unused)) = {.home = -1}

/* ---- one that many hold: immutable and counted, any thread */

struct netns;

struct netns *netns_ref(struct netns *n);
struct netns *netns_unref(struct netns *n); /* returns NULL */
static inline void netns_release(struct netns *n)
{
    (void)netns_unref(n); /* its answer is always NULL */
}
AUTO_DEFINE(netns, struct netns *, netns_release);

/* Takes fd, on failure too. What is no namespace at all fails only when it is entered. */
MUST_USE int netns_from_fd(struct netns **out, int take_fd, struct diag *why);
/* The calling thread's own. */
MUST_USE int netns_from_thread(struct netns **out, struct diag *why);

bool netns_is_same(const struct netns *a, const struct netns *b);
/* Whether the descriptor is a network namespace and not some other file. */
bool netns_is_genuine(const struct netns *n);
int netns_fd(const struct netns *n); /* borrowed */

/* For who keeps its home at hand, and so need not open it for each visit. */
MUST_USE int netns_enter(const struct netns *n, struct diag *why);
void netns_go_home(const struct netns *home);
