/* SPDX-License-Identifier: Apache-2.0 */
/* Host names as the Gateway API writes them. Pure. */
#pragma once

#include <stdbool.h>

/* NULL: it is one. Else what is wrong and what helps. may_be_wildcard: the API's Hostname, which may
 * begin with "*."; else its PreciseHostname. */
const char *hostname_problem(const char *name, bool may_be_wildcard);
