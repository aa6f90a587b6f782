/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The baggage header of a CONNECT (contract 2.5): which workload speaks, for labels and logs only,
 * never for a decision. No percent coding in either direction.
 */
#pragma once

#include <stddef.h>

#include "base/err.h"
#include "base/str.h"

enum baggage_key {
    BAGGAGE_CLUSTER = 0,
    BAGGAGE_NAMESPACE,
    BAGGAGE_WORKLOAD,
    BAGGAGE_SERVICE,
    BAGGAGE_REVISION,
    BAGGAGE_REGION,
    BAGGAGE_ZONE,
    BAGGAGE_KEYS
};

struct baggage {
    struct slice value[BAGGAGE_KEYS]; /* empty: absent */
    struct slice workload_type; /* "deployment", "cronjob", "pod", "job"; with BAGGAGE_WORKLOAD */
};

enum { BAGGAGE_MAX = 8192 }; /* bytes of one header line that are read */

/* Appends; what is empty is left out. Bytes that may not stand in a header value become '?'. */
void baggage_format(struct strbuf *out, const struct baggage *b);

/* Merges one header line into b, which starts zeroed; the last value of a key wins. Values point
 * into text. -ERR_SYNTAX: not ASCII, nothing was merged. -ERR_TOO_LARGE. */
MUST_USE int baggage_parse(struct baggage *b, const char *text, size_t len);
