/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A waypoint's resources (proto/waypoint.proto) to the model. Pure; any thread. A resource that does
 * not decode gives an error that names the field, as the NACK says it; it is refused alone.
 */
#pragma once

#include "base/err.h"
#include "base/str.h"
#include "model/l7.h"
#include "model/l7_binding.h"
#include "model/l7_policy.h"
#include "model/l7_route.h"
#include "model/l7_traffic.h"

#define XDS_TYPE_L7_BINDING "type.googleapis.com/ambit.waypoint.v1.Binding"
#define XDS_TYPE_L7_ROUTE   "type.googleapis.com/ambit.waypoint.v1.Route"
#define XDS_TYPE_L7_POLICY  "type.googleapis.com/ambit.waypoint.v1.Policy"
#define XDS_TYPE_L7_TRAFFIC "type.googleapis.com/ambit.waypoint.v1.Traffic"

/* Each appends the wire form; templates do. NULL texts are absent ones. */
void xds_l7_binding_encode(struct strbuf *out, const struct l7_binding *b);
void xds_l7_route_encode(struct strbuf *out, const struct l7_route *r);
void xds_l7_policy_encode(struct strbuf *out, const struct l7_policy *p);
void xds_l7_traffic_encode(struct strbuf *out, const struct l7_traffic *t);

/* name is the resource's; version the control plane's, or "": then the hash of the bytes stands for it.
 * The caller's on success. */
MUST_USE int xds_l7_binding_decode(const struct l7_binding **out, struct slice bytes,
                                   const char *name, const char *version, struct diag *why);
MUST_USE int xds_l7_route_decode(const struct l7_route **out, struct slice bytes, const char *name,
                                 const char *version, struct diag *why);
MUST_USE int xds_l7_traffic_decode(const struct l7_traffic **out, struct slice bytes,
                                   const char *name, const char *version, struct diag *why);
/* Like xds_policy_decode: on failure *out is a broken policy, whose target denies (the service that
 * the name says, else the whole waypoint), and the error is returned all the same. */
MUST_USE int xds_l7_policy_decode(const struct l7_policy **out, struct slice bytes,
                                  const char *name, const char *version, struct diag *why);

/* Which of the four; false: none. */
bool xds_l7_type_of(const char *type_url, enum l7_type *out);
/* Decodes and puts; of a policy that does not decode the broken one is put, and the error returned. */
MUST_USE int xds_l7_put(struct l7_delta *d, enum l7_type type, const char *name, struct slice bytes,
                        struct diag *why);
