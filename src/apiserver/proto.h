/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kubernetes' protobuf encoding, read only, for the bodies that typed clients send: newer kubectl
 * speaks it for `create namespace`, `create token`, `auth can-i` and the like, and does not try JSON
 * when it is refused. Envelope and field numbers: k8s.io/apimachinery runtime.Unknown and the types'
 * generated.proto, checked against recorded bodies.
 */
#pragma once

#include "base/err.h"
#include "base/str.h"

struct json;

/* The object as JSON, kind and apiVersion included. -ERR_SYNTAX; -ERR_UNSUPPORTED: no such kind here. */
MUST_USE int proto_decode(struct slice body, struct diag *why, struct json **out);
