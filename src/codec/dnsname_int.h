/* SPDX-License-Identifier: Apache-2.0 */
/* Domain names on the wire (RFC 1035 3.1, 4.1.4) and as text; private to dnsmsg. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/auto.h"

enum { DNSNAME_WIRE = 255, DNSNAME_LABEL = 63 };

/* Offset behind the name at `at`; negative: it is not well-formed, or too long. Pointers may
 * only go backwards, and not into the header. */
MUST_USE int dnsname_skip(const uint8_t *msg, size_t len, size_t at);
/* The name expanded, lower case. msg has passed dnsname_skip. */
void dnsname_text(const uint8_t *msg, size_t at, char *text, size_t room);
/* Text to wire form without compression. Returns the length; -ERR_SYNTAX. */
MUST_USE int dnsname_wire(const char *text, uint8_t into[static DNSNAME_WIRE]);
/* Is the expanded name at `at` the same as the uncompressed name `wire`, but for case? */
bool dnsname_is(const uint8_t *msg, size_t at, const uint8_t *wire);
