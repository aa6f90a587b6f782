/* SPDX-License-Identifier: Apache-2.0 */
/* Packets of the node agent's protocol (contract 7.1, 7.2): pure, no socket. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "ztunnel/pod.h"

enum { ZDS_PACKET_MAX = 1024, ZDS_ANSWER_MAX = 512 };

enum zds_kind { ZDS_ADD, ZDS_DEL, ZDS_SNAPSHOT_SENT, ZDS_KEEP };

struct zds_request {
    enum zds_kind kind;
    bool has_info;        /* ZDS_ADD */
    struct pod_info info; /* uid always; the rest with has_info; the holder ends it */
};

/* descriptors: how many came with it. The texts of why are those of the recorded program. */
MUST_USE int zds_request_parse(struct zds_request *out, const uint8_t *packet, size_t len,
                               bool truncated, unsigned descriptors, struct diag *why);
/* Both return the length. error NULL or "": success. A longer text is cut. */
size_t zds_hello_write(uint8_t out[static ZDS_ANSWER_MAX]);
size_t zds_answer_write(uint8_t out[static ZDS_ANSWER_MAX], const char *error);
