/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the agent learns about pods and namespaces, and writes about pods: a Kubernetes API, or a
 * test's own. Lives on the agent's loop and never blocks. Calls marked (*) answer -EAGAIN and then
 * wake their task with WAKE_CHILD once they are worth repeating.
 */
#pragma once

#include <stdbool.h>

#include "base/err.h"
#include "io/task.h"
#include "node/pod.h"

enum pod_event_kind {
    POD_EVENT_POD,       /* new or changed */
    POD_EVENT_POD_GONE,  /* pod->uid is what counts */
    POD_EVENT_NAMESPACE, /* new or changed */
    POD_EVENT_NAMESPACE_GONE,
    POD_EVENT_SYNCED /* everything that exists has been told; again when the API is back */
};

struct pod_event {
    enum pod_event_kind kind;
    struct pod *pod; /* the receiver's; NULL for namespaces */
    char namespace[64];
    char mode[16]; /* label istio.io/dataplane-mode of the namespace; "" if absent */
};

/* A pod that the local runtime makes: the object, before it has run. */
struct pod_spec {
    const char *namespace;
    const char *name;
    const char *service_account;
    const char *node;
    const char *const *labels; /* key, value, ..., NULL; may be NULL */
    const struct ip *ips;
    unsigned ip_count;
    const char *trouble; /* why it is not ready, for people; NULL: nothing is to be said */
};

enum pod_phase { POD_PENDING, POD_RUNNING, POD_SUCCEEDED, POD_FAILED };

struct pod_source;
struct pod_write; /* a request under way; the caller's until dropped */

struct pod_source_ops {
    void (*own)(struct pod_source *s, struct task *t);
    int (*next)(struct pod_source *s, struct pod_event *out); /* (*) 1 = an event */
    /* The redirection annotation: "enabled", or away. */
    struct pod_write *(*announce)(struct pod_source *s, struct task *t, const struct pod *pod,
                                  bool enabled);
    struct pod_write *(*create)(struct pod_source *s, struct task *t, const struct pod_spec *spec);
    struct pod_write *(*set_phase)(struct pod_source *s, struct task *t,
                                   const struct pod_spec *spec, enum pod_phase phase, bool ready);
    struct pod_write *(*remove)(struct pod_source *s, struct task *t, const char *namespace,
                                const char *name);
    /* A token of the pod's account, bound to the pod. */
    struct pod_write *(*token)(struct pod_source *s, struct task *t, const struct pod_spec *spec,
                               const char *uid);
    /* (*) 0 = done, -ERR_NOT_FOUND, -ERR_EXISTS, or another failure. */
    int (*result)(struct pod_write *w, struct diag *why);
    /* For create: the uid that the API gave; borrowed. */
    const char *(*uid)(const struct pod_write *w);
    /* For token: the text, borrowed, and for how long it is good. */
    const char *(*secret)(const struct pod_write *w, unsigned *out_life_s);
    void (*drop)(struct pod_write *w); /* NULL is fine; cancels */
};

struct pod_source {
    const struct pod_source_ops *ops;
};
