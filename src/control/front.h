/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where node proxies come in: gRPC calls are taken from the server, their credentials reviewed, and
 * what they want decides who gets them, discovery or the certificate authority. Nobody comes in
 * without a credential, and nobody before the cluster is known. The control loop.
 */
#pragma once

#include "ca/ca_service.h"
#include "xds/ads_server.h"

struct feed;
struct kube_client;

enum { FRONT_VISITORS_MAX = 2048, FRONT_REVIEW_MS = 15000 };

struct front_options { /* everything is borrowed and outlives it */
    const char *cluster_id;
    const char *trust_domain;
    struct kube_client *client;
    struct feed *feed;
    struct ads_server *ads;
    struct ca_service *ca;
    bool (*is_proxy)(void *arg, const struct ca_caller *c); /* of a node */
    void *arg;
};

struct front;

struct front *front_new(struct loop *l, const struct grpc_server_options *grpc,
                        const struct front_options *options);
void front_free(struct front *d);
AUTO_DEFINE(front, struct front *, front_free);
/* Takes fd, a listening non-blocking socket. */
MUST_USE int front_listen(struct front *d, int take_fd, struct diag *why);

struct front_stats {
    uint64_t refused_early; /* before the cluster was known */
    uint64_t unauthenticated;
    unsigned visitors; /* being reviewed */
};
const struct front_stats *front_stats(const struct front *d);
