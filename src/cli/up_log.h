/* SPDX-License-Identifier: Apache-2.0 */
/* What the log of a part says about why it did not come up. Pure. */
#pragma once

#include <stdbool.h>

#include "base/str.h"

/* The last `error="..."` of text, without its quotes: true. fix gets the one command that helps, where
 * there is one. */
bool up_log_reason(const char *text, struct strbuf *reason, struct strbuf *fix);
