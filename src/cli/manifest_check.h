/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What can be said about a manifest before it is sent: fields that are not there, misspelt or of the
 * wrong kind, each with its path and what to write instead. The server has the last word; this knows
 * the objects that a mesh is steered with. A field that a policy does not have is refused: a server
 * that drops it in silence would make another policy of it. Pure.
 */
#pragma once

#include "base/err.h"

struct json;

/* apiVersion, kind, metadata.name. */
MUST_USE int manifest_check_head(const struct json *o, struct diag *why);
MUST_USE int manifest_check_service(const struct json *o, struct diag *why);
MUST_USE int manifest_check_authorization(const struct json *o, struct diag *why);
MUST_USE int manifest_check_peer(const struct json *o, struct diag *why);
