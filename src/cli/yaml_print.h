/* SPDX-License-Identifier: Apache-2.0 */
/* JSON values as YAML in block style: what codec/yaml.h reads as the same value again. Pure. */
#pragma once

#include "base/str.h"

struct json;

/* Appends; ends with a line end. */
void yaml_print(const struct json *j, struct strbuf *out);
