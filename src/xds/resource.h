/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Discovery resources to and from the model: Address (contract 5.7) and Authorization (contract 4.1,
 * 4.2). Pure; any thread. What a value means that the contract does not know is decided here, once:
 * enumerations that change behaviour refuse the resource, the two that do not (workload_type,
 * visibility) fall back.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"
#include "model/intern.h"
#include "model/policy.h"
#include "model/service.h"
#include "model/workload.h"

#define XDS_TYPE_ADDRESS       "type.googleapis.com/istio.workload.Address"
#define XDS_TYPE_AUTHORIZATION "type.googleapis.com/istio.security.Authorization"

enum { XDS_RESOURCE_MAX = 4 << 20 }; /* bytes of one resource */

struct xds_address { /* one of the two is set, with one reference for the holder */
    const struct workload *workload;
    const struct service *service;
};

/* why holds the reason as a NACK says it, without the resource's name. */
MUST_USE int xds_address_decode(struct xds_address *out, struct slice bytes, const char *version,
                                struct intern *pool, struct diag *why);

/* Decides what to keep of a policy that does not decode: *out is then a broken policy (its subjects
 * are denied), and the error is returned all the same. name is the resource's, "namespace/name";
 * where the bytes do not even say whom the policy is for, it is taken to be its whole namespace. */
MUST_USE int xds_policy_decode(const struct policy **out, struct slice bytes, const char *name,
                               const char *version, struct diag *why);

/* What the model of a service leaves out, for it means nothing at layer 4. */
enum xds_app_protocol { APP_UNKNOWN = 0, APP_HTTP11, APP_HTTP2, APP_GRPC, APP_TCP, APP_TLS };
struct xds_service_more {
    const uint8_t *app_protocols; /* enum xds_app_protocol, one a port; NULL: all unknown */
    bool ingress_use_waypoint;
};

/* Each appends the wire form, an Address or an Authorization, byte for byte as a protobuf library
 * writes it that sorts the keys of maps. They take templates too: NULL texts are absent ones. */
void xds_workload_encode(struct strbuf *out, const struct workload *w);
void xds_service_encode(struct strbuf *out, const struct service *s,
                        const struct xds_service_more *more);
void xds_policy_encode(struct strbuf *out, const struct policy *p);

/* The version of an Address: xxhash64 of its wire form in lower-case hex, not padded, as istiod has
 * it, so that a client that changes from one control plane to the other keeps what it has. */
enum { XDS_VERSION_TEXT = 17 };
const char *xds_version(struct slice wire, char buf[static XDS_VERSION_TEXT]);
