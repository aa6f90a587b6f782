/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Patches as pure functions: JSON merge patch (RFC 7396), JSON patch (RFC 6902) and Kubernetes'
 * strategic merge patch, which knows the keys of lists ($patch, $setElementOrder, $deleteFromPrimitiveList,
 * $retainKeys).
 */
#pragma once

#include "base/err.h"
#include "base/str.h"

struct json;
struct schema;

enum patch_type { PATCH_UNKNOWN, PATCH_MERGE, PATCH_JSON, PATCH_STRATEGIC, PATCH_APPLY };

enum { PATCH_OPERATIONS = 10000, PATCH_COPY_BYTES = 1 << 20, PATCH_WALKED = 1 << 20 };

enum patch_type patch_type_of(struct slice content_type);
/* A new object; old stays as it is. Not for PATCH_APPLY. -ERR_SYNTAX: the patch is malformed;
 * -ERR_CONFLICT: it cannot be applied to this object; -ERR_LIMIT: it, or its result, is too large. */
MUST_USE int patch_apply(enum patch_type type, const struct schema *schema, const struct json *old,
                         const struct json *patch, struct diag *why, struct json **out);
