/* SPDX-License-Identifier: Apache-2.0 */
/* What a plain YAML scalar means. Knows nothing of the parser. */
#pragma once

#include <stddef.h>

#include "codec/json.h"

/* text is zero-terminated. One reference for the caller; NULL: an infinity or NaN, which JSON
 * cannot hold. */
struct json *yaml_scalar_value(const char *text, size_t len);
