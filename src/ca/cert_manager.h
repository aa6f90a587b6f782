/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The certificates of a node: one entry an identity, fetched when somebody asks or beforehand, renewed
 * at half of its life, retried with back-off (contract 6.4). Lives on one loop (the control loop);
 * connections on any loop ask through a cert_wait.
 *
 * Fetches share one connection to the CA and the token it was dialled with. When the CA does not take
 * that token, or after ten seconds, the connection ends with the calls it carries and the next fetch
 * dials anew, with what the token's file says then.
 *
 * Where the contract would serve an expired certificate, this does not; a certificate that arrives
 * past its half-life is renewed at half of what is left, never in a loop.
 */
#pragma once

#include "io/jobs.h"
#include "model/identity.h"
#include "rpc/grpc_dialer.h"
#include "tls/credential.h"

enum cert_priority { CERT_BACKGROUND, CERT_WARMUP, CERT_REALTIME, CERT_PRIORITIES };

enum {
    CERT_IN_FLIGHT_MAX = 8,
    CERT_RETRY_FIRST_MS = 1000,
    CERT_RETRY_MAX_MS = 150000,
    CERT_RENEW_MIN_MS = 10000, /* between a certificate and asking for its successor, at least */
    CERT_IDENTITIES_MAX = 65536
};

struct cert_manager;

struct cert_manager_config {
    struct grpc_dialer *dialer; /* outlives the manager */
    struct jobs *jobs;
    int64_t ttl_s;
    bool impersonate; /* ask for the identities of others (shared mode) */
};

struct cert_manager *cert_manager_new(struct loop *l, const struct cert_manager_config *config);
/* All waits must have been freed, and the loops they came from have delivered their mail. */
void cert_manager_free(struct cert_manager *m);
AUTO_DEFINE(cert_manager, struct cert_manager *, cert_manager_free);

/* Any thread: a workload of this identity is here; its certificate is fetched at once and kept fresh
 * until the last one leaves. Each use ends with one unuse. */
void cert_manager_use(struct cert_manager *m, const struct identity *id);
void cert_manager_unuse(struct cert_manager *m, const struct identity *id);

/* Any thread: asks for a credential; t is woken with WAKE_JOB on its own loop. */
struct cert_wait;
struct cert_wait *cert_wait_new(struct cert_manager *m, const struct identity *id,
                                enum cert_priority priority, struct task *t);
/* (*) 0: *out is the caller's reference. Any other error than -EAGAIN says why there is none. */
MUST_USE int cert_wait_result(struct cert_wait *w, struct credential **out, struct diag *why);
void cert_wait_free(struct cert_wait *w);
AUTO_DEFINE(cert_wait, struct cert_wait *, cert_wait_free);

/* For dumps, on the manager's loop. A zeroed cursor starts; false ends. */
struct cert_view {
    const struct identity *identity;
    struct credential *credential; /* NULL: none that is valid; borrowed */
    const char *state;             /* "Available", "Initializing" or "Unavailable" */
    const struct diag *error;      /* of the last attempt; code 0: it went well */
};
struct cert_cursor {
    void *at;
};
bool cert_manager_each(const struct cert_manager *m, struct cert_cursor *c, struct cert_view *out);
