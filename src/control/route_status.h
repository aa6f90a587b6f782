/* SPDX-License-Identifier: Apache-2.0 */
/* What is said about routes; pure. */
#pragma once

#include "base/str.h"
#include "codec/json.h"
#include "model/l7_route.h"

/* A refusal of the model (model/l7_route.h), "matches[0].path.value: ...", in the words of the rule
 * that it was made of. Appends. */
void route_field_write(enum l7_route_kind kind, const struct json *rule, const char *text,
                       struct strbuf *out);
