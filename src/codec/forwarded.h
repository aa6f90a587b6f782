/* SPDX-License-Identifier: Apache-2.0 */
/* The forwarded header of a CONNECT (RFC 7239 as contract 2.4 uses it). */
#pragma once

#include <stddef.h>

#include "base/ip.h"
#include "base/str.h"

/* Appends: for="1.2.3.4:80" or for="[::1]:80", then ;host=name where host is not empty. */
void forwarded_format(struct strbuf *out, const struct endpoint *client, const char *host);

/* What the header says; parts that are missing or do not parse stay as IP_NONE and empty.
 * Parameters in any order and case, quoted or not; only the first element counts. host points
 * into text. */
struct forwarded {
    struct endpoint client;
    struct slice host;
};
void forwarded_parse(struct forwarded *out, const char *text, size_t len);
