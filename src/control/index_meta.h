/* SPDX-License-Identifier: Apache-2.0 */
/* What several kinds of objects are asked in the same way. Borrowed texts; pure. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "codec/json.h"
#include "control/labels.h"

const char *meta_label(const struct json *object, const char *key);      /* "" where absent */
const char *meta_annotation(const struct json *object, const char *key); /* "" where absent */
const char *meta_ns(const struct json *object);
const char *meta_name(const struct json *object);
int64_t meta_created_s(const struct json *object);
bool bypass_is_allowed(const struct json *object);
/* A label selector of Kubernetes over labels; what cannot be read matches nothing. */
bool label_selector_matches(const struct json *selector, const struct labels *l);
