/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What single kinds demand beyond their schema: defaults that depend on other fields, addresses to be
 * given out, fields that may not change. Called with an object that has passed its schema; adds
 * faults. The server's own metadata is not in it yet when it is being created.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct api;
struct faults;
struct json;
struct kind;

struct admission {
    struct api *api;
    const struct kind *kind;
    struct json *object;
    const struct json *old; /* NULL: it is being created */
    struct faults *faults;
    struct json *refusal; /* set: answer this Status instead; owned by the caller */
    int64_t now_s;
    const char *warning; /* set: a client is told so beside the answer; static */
};

/* Neither created nor asked for anew: what was taken once is not held against it, so that its status
 * and its labels can still be written. */
bool admit_is_kept(const struct admission *a);

void admit_namespace(struct admission *a);
void admit_pod(struct admission *a);
void admit_deployment(struct admission *a);
void admit_service(struct admission *a);
void admit_secret(struct admission *a);
void admit_authorization_policy(struct admission *a);
void admit_peer_authentication(struct admission *a);
void admit_request_authentication(struct admission *a);
void admit_destination_rule(struct admission *a);
void admit_gateway(struct admission *a);
void admit_gateway_class(struct admission *a);
void admit_http_route(struct admission *a);
void admit_grpc_route(struct admission *a);
void admit_tcp_route(struct admission *a);
