/* SPDX-License-Identifier: Apache-2.0 */
/* What resolv.conf(5) says, as far as it matters here. Reading the file is the caller's business. */
#pragma once

#include <stddef.h>

#include "base/ip.h"

enum { RESOLV_SERVERS_MAX = 8, RESOLV_SEARCH_MAX = 16, RESOLV_NAME_MAX = 254, RESOLV_PORT = 53 };

struct resolv_conf {
    struct endpoint servers[RESOLV_SERVERS_MAX];
    unsigned server_count;
    char search[RESOLV_SEARCH_MAX][RESOLV_NAME_MAX]; /* lower case, without a final dot */
    unsigned search_count;
};

/* Never fails: lines that make no sense, servers with a zone and what exceeds the limits are skipped,
 * as every resolver does. No server at all means the one on this host (resolv.conf(5)). */
void resolv_conf_parse(const char *text, size_t len, struct resolv_conf *out);
