/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The certificate authority as a service: CreateCertificate calls whose callers are known already
 * (contract 6.1). The names of a certificate come from the reviewed caller, or from the identity it
 * may ask for; of the request only the key is used. Signing happens in the job pool. One loop.
 *
 * Stricter than what is recorded of istiod, on purpose: an identity of another trust domain is
 * refused, and so is a lifetime that overflows.
 */
#pragma once

#include "ca/authority.h"
#include "io/jobs.h"
#include "model/identity.h"
#include "rpc/grpc_server.h"

enum {
    CA_CALLS_MAX = 1024, /* at once; one more is refused */
    CA_CALL_MS = 15000,  /* from the call to its answer */
    CA_REQUEST_BYTES = 256 << 10
};

#define CA_METHOD "/istio.v1.auth.IstioCertificateService/CreateCertificate"

struct ca_caller { /* as a review of its credential says; copied */
    const char *ns;
    const char *account;
    const char *pod_name; /* "" where the credential is bound to no pod */
    const char *pod_uid;
    bool has_cluster; /* it named our cluster; asking for others needs that */
};

struct ca_service_config { /* borrowed things outlive the service */
    struct jobs *jobs;
    const struct authority *authority;
    const char *trust_domain;
    /* Whether caller may have a certificate of id, which is of our trust domain. On the loop. */
    bool (*may_impersonate)(void *arg, const struct ca_caller *caller, const struct identity *id);
    void *arg;
};

struct ca_service;

struct ca_service *ca_service_new(struct loop *l, const struct ca_service_config *config);
void ca_service_free(struct ca_service *s);
AUTO_DEFINE(ca_service, struct ca_service *, ca_service_free);

/* Takes call. */
void ca_service_add(struct ca_service *s, struct grpc_call *take_call,
                    const struct ca_caller *caller);

struct ca_service_stats {
    uint64_t requests;
    uint64_t issued;
    uint64_t denied; /* identities that the caller may not have */
    uint64_t failed; /* bad requests, and what went wrong here */
    unsigned open;
};
const struct ca_service_stats *ca_service_stats(const struct ca_service *s);
