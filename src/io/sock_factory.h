/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one way by which a proxy gets sockets that need privilege: in a workload's network namespace,
 * marked, transparent. Asking and taking are two steps, so that a factory may be another process that
 * passes descriptors; one that makes the socket itself answers at once.
 *
 * A factory and its asks belong to one loop.
 *
 *     struct sock_ask *a = sock_ask_new(factory, pod_netns, &spec, &d->task);
 *     int fd = sock_ask_take(a, why);     -EAGAIN: comes back with WAKE_CHILD
 */
#pragma once

#include "base/ip.h"
#include "io/loop.h"
#include "io/netns.h"
#include "io/sock.h"

enum sock_role {
    SOCK_ROLE_LISTEN,  /* TCP, bound to `at` and listening; transparent if asked, best effort */
    SOCK_ROLE_CONNECT, /* TCP, ready for connect(); from `at`'s address if it has one */
    SOCK_ROLE_DATAGRAM /* UDP, bound to `at` if it has a family */
};

struct sock_spec {
    enum sock_role role;
    enum ip_family family;
    struct endpoint at; /* zero: none */
    uint32_t mark;      /* 0: none */
    bool transparent;   /* LISTEN: try; CONNECT: implied by an address in `at` */
    bool reuse_port;    /* contract 7.9: the default for a pod's listeners */
    unsigned backlog;   /* LISTEN */
    struct sock_keepalive keepalive;
};

struct sock_ask;
struct sock_factory;

struct sock_factory_ops {
    const char *name;
    /* Answers with sock_ask_answer, now or later. */
    void (*ask)(struct sock_factory *f, struct sock_ask *a);
    /* a is not interested any more; it was not answered yet. */
    void (*cancel)(struct sock_factory *f, struct sock_ask *a);
    void (*free)(struct sock_factory *f);
};

struct sock_factory {
    const struct sock_factory_ops *ops;
    /* private to sock_factory.c */
    uint64_t lapses;       /* so far */
    uint64_t warn_from_ms; /* the next line about them is due then */
    uint64_t lapses_told;  /* by the last one */
};

static inline void sock_factory_free(struct sock_factory *f)
{
    if (f) {
        f->ops->free(f);
    }
}
AUTO_DEFINE(sock_factory, struct sock_factory *, sock_factory_free);

/* Cancels; a socket nobody took is closed. */
void sock_ask_free(struct sock_ask *a);
/* where NULL: the factory's own namespace. where and spec are copied. owner may be NULL. */
struct sock_ask *sock_ask_new(struct sock_factory *f, struct netns *where,
                              const struct sock_spec *spec, struct task *owner)
    FREED_BY(sock_ask_free);
AUTO_DEFINE(sock_ask, struct sock_ask *, sock_ask_free);
void sock_ask_own(struct sock_ask *a, struct task *owner);

/* The descriptor, which is the caller's from then on; -EAGAIN promises one WAKE_CHILD; anything else
 * is the final failure. Try it right after sock_ask_new: an answer that is there already wakes nobody. */
MUST_USE int sock_ask_take(struct sock_ask *a, struct diag *why);
/* What of the best effort did not work (a source address that could not be kept, transparency, a
 * shared port): code 0 if all did. Valid once the socket is there. Said in the log, at most every ten
 * seconds. */
const struct diag *sock_ask_lapse(const struct sock_ask *a);

/* For factories. fd_or_failure becomes the ask's. */
void sock_ask_answer(struct sock_ask *a, int fd_or_failure, const struct diag *why,
                     const struct diag *lapse);
const struct sock_spec *sock_ask_spec(const struct sock_ask *a);
struct netns *sock_ask_where(const struct sock_ask *a); /* borrowed; NULL: own */
/* Makes the socket of a spec in the calling thread's namespace: the privileged side of any factory. */
MUST_USE int sock_spec_make(const struct sock_spec *spec, struct diag *lapse, struct diag *why);
