/* SPDX-License-Identifier: Apache-2.0 */
/* What every proxy's environment says about its control plane, in Istio's variables (contract 1.5). */
#pragma once

#include "codec/json.h"
#include "http/message.h"

/* XDS_ADDRESS or CA_ADDRESS (name), or the usual place, with its scheme; the caller's. "" was asked
 * for. */
char *uplink_env_address(char *const *env, const char *name);
/* Each variable "<prefix>NAME=value" is a header of every call. */
MUST_USE int uplink_env_headers(struct message *out, char *const *env, const char *prefix,
                                struct diag *why);
/* ISTIO_META_* and ISTIO_METAJSON_* into the node's metadata. */
void uplink_env_metadata(struct json *into, char *const *env);
/* The cluster's id; the caller's. */
char *uplink_env_cluster(char *const *env);
