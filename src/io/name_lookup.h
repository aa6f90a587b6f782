/* SPDX-License-Identifier: Apache-2.0 */
/* Host names as the system resolves them (hosts file, search list, DNS). Blocks for as long as the
 * system's resolver takes: for jobs in a pool of their own, and for command-line tools. The data path
 * has resolver.h. */
#pragma once

#include "base/err.h"
#include "base/ip.h"

/* Addresses of host (a name or an address), most preferred first; the caller fills in ports. How many,
 * at most max. */
MUST_USE int name_lookup_blocking(const char *host, struct ip *out, unsigned max, struct diag *why);
