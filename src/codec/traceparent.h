/* SPDX-License-Identifier: Apache-2.0 */
/* The traceparent header (W3C Trace Context level 1): it only joins the log lines of both ends
 * (contract 2.4, 2.6). Randomness comes from the caller. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct traceparent {
    uint8_t trace_id[16];
    uint8_t parent_id[8];
    uint8_t flags;
};

enum { TRACEPARENT_LEN = 55, TRACEPARENT_TEXT = TRACEPARENT_LEN + 1 };

/* Returns buf. */
const char *traceparent_format(const struct traceparent *tp, char buf[static TRACEPARENT_TEXT]);
