/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A client of one Kubernetes API server on one loop: connections, TLS, credentials. Requests are made
 * with call.h and kube_watch.h. libcurl does the work, driven by the loop's readiness and timers; it
 * calls back into this folder only, and whoever waits is woken.
 */
#pragma once

#include "base/err.h"

struct jobs;
struct kube_client;
struct kube_config;
struct loop;

enum {
    KUBE_TOKEN_MS = 60000, /* how often a token file is read again */
    KUBE_CONNECT_MS = 10000,
    KUBE_ANSWER_BYTES = 64 << 20, /* of one answer; a list comes in pages */
};

/* Copies what it needs of config. jobs reads the token file; it must outlive the client, and so must
 * the loop. name is the user agent's first word, and the default field manager. */
MUST_USE int kube_client_new(struct loop *l, struct jobs *jobs, const struct kube_config *config,
                             const char *name, struct diag *why, struct kube_client **out);
/* After all of its calls and watches. */
void kube_client_free(struct kube_client *c);
struct loop *kube_client_loop(struct kube_client *c);
/* Of the context: for commands that name none. */
const char *kube_client_namespace(const struct kube_client *c);

AUTO_DEFINE(kube_client, struct kube_client *, kube_client_free);
