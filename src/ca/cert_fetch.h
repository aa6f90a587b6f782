/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One certificate: a fresh key and CSR (in a job), the CreateCertificate call (contract 6.1), a look
 * at what came back (in a job). Every waiting step has a deadline. Poll-style; its owner's task is
 * woken with WAKE_CHILD.
 */
#pragma once

#include "io/jobs.h"
#include "model/identity.h"
#include "rpc/grpc_client.h"
#include "tls/credential.h"

enum { CERT_CALL_MS = 15000 }; /* the real one waits for ever, and then nobody gets a certificate */

struct cert_fetch;

struct cert_fetch_spec { /* borrowed for the call */
    const struct identity *identity;
    int64_t ttl_s;
    bool impersonate; /* say for whom (shared mode); without it the token says it */
};

struct cert_fetch *cert_fetch_new(struct loop *l, struct jobs *jobs,
                                  const struct cert_fetch_spec *spec, struct task *owner);
/* Abandons what is under way. */
void cert_fetch_free(struct cert_fetch *f);
AUTO_DEFINE(cert_fetch, struct cert_fetch *, cert_fetch_free);

/* The CSR is ready and a connection is wanted: then call cert_fetch_send. */
bool cert_fetch_wants_connection(const struct cert_fetch *f);
/* client and metadata are borrowed; losing the client fails the fetch. */
void cert_fetch_send(struct cert_fetch *f, struct grpc_client *client,
                     const struct message *metadata);
/* There will be no connection: the fetch fails with why. */
void cert_fetch_refuse(struct cert_fetch *f, const struct diag *why);
/* The CA did not take the metadata it was sent with: another try needs new ones. */
bool cert_fetch_was_unauthenticated(const struct cert_fetch *f);

/* (*) 0: *out is the caller's. -EAGAIN. Else why says what failed. */
MUST_USE int cert_fetch_result(struct cert_fetch *f, struct credential **out, struct diag *why);
