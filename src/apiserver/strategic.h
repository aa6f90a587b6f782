/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kubernetes' strategic merge patch: a merge patch in which lists with a key are merged by it, with
 * directives ($patch, $setElementOrder/x, $deleteFromPrimitiveList/x, $retainKeys). Pure.
 */
#pragma once

#include "base/err.h"

struct json;
struct schema;

/* A new object; old and patch stay as they are. -ERR_SYNTAX: a directive makes no sense;
 * -ERR_CONFLICT: an item has no key. */
MUST_USE int strategic_merge(const struct schema *schema, const struct json *old,
                             const struct json *patch, struct diag *why, struct json **out);
