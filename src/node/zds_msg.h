/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Packets between node agent and node proxy, as the agent writes and reads them (contract 7.1, 7.2).
 * Pure. Both ends read into 1024 bytes, so nothing larger is ever made.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum { ZDS_PACKET_MAX = 1024 };

struct zds_workload { /* borrowed */
    const char *uid;
    const char *name;
    const char *namespace;
    const char *service_account;
};

/* Each returns the length, or -ERR_TOO_LARGE. */
MUST_USE int zds_put_add(uint8_t out[static ZDS_PACKET_MAX], const struct zds_workload *w);
MUST_USE int zds_put_keep(uint8_t out[static ZDS_PACKET_MAX], const char *uid);
MUST_USE int zds_put_del(uint8_t out[static ZDS_PACKET_MAX], const char *uid);
MUST_USE int zds_put_snapshot_sent(uint8_t out[static ZDS_PACKET_MAX]);

/* -ERR_SYNTAX, or -ERR_VERSION for a version that is not ours. */
MUST_USE int zds_read_hello(const uint8_t *packet, size_t len);
/* 0 = done, -ERR_DENIED = refused, with the proxy's words in why; -ERR_SYNTAX. */
MUST_USE int zds_read_response(const uint8_t *packet, size_t len, struct diag *why);
