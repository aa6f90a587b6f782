/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which pods this proxy serves and on which plane each lives (contract 7.4). The control loop's side:
 * pods themselves run on their planes and are told what to do by mail.
 */
#pragma once

#include "codec/json.h"
#include "ztunnel/pod.h"

enum { PODS_MAX = 4096, PODS_RETRY_MS = 5000 };

struct pods;

/* planes is borrowed. owner is woken with WAKE_CHILD when pods_result or a count may have changed. */
struct pods *pods_new(struct loop *l, struct plane *const *planes, unsigned plane_count,
                      struct task *owner);
/* After every pod has gone (pods_count) and the planes' loops have ended. */
void pods_free(struct pods *p);
AUTO_DEFINE(pods, struct pods *, pods_free);

/* One order of the agent at a time. Each begins something; pods_result says how it went. */
void pods_add(struct pods *p, const struct pod_info *info, struct netns *take_netns);
void pods_remove(struct pods *p, const char *uid);
/* (*) 0; -EAGAIN while the order is under way; or why the pod could not be started: it stays pending
 * and is tried again every PODS_RETRY_MS. */
MUST_USE int pods_result(struct pods *p, struct diag *why);

/* Starts the listener of the proxy itself; it is no pod of the agent's and is in no count but alive. */
void pods_start_own(struct pods *p, const struct pod_info *info);
/* It could not be bound: why says what is in the way. */
bool pods_own_failed(const struct pods *p, struct diag *why);

/* A snapshot: everything not named between begin and end is stopped at the end. */
void pods_snapshot_begin(struct pods *p);
void pods_snapshot_keep(struct pods *p, const char *uid);
void pods_snapshot_end(struct pods *p);

/* Everything stops, and nothing starts again; connections get drain_ms. */
void pods_drain(struct pods *p, uint64_t drain_ms);

struct pods_counts {
    unsigned active;
    unsigned pending;
    unsigned alive; /* pods on planes, stopping ones too */
    uint64_t started;
    uint64_t stopped;
};
struct pods_counts pods_counts(const struct pods *p);

/* The "workloadState" of /config_dump without connections: uid -> {state, info}. */
struct json *pods_to_json(const struct pods *p);
