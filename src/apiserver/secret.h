/* SPDX-License-Identifier: Apache-2.0 */
/* Comparing what must not be guessed byte by byte. */
#pragma once

#include <stdbool.h>

#include "base/str.h"

/* In a time that depends on the lengths alone. */
bool secret_equal(struct slice a, struct slice b);
