/* SPDX-License-Identifier: Apache-2.0 */
/* What the discovery client sends. */
#pragma once

#include "base/bytes.h"
#include "codec/json.h"
#include "model/world.h"
#include "xds/ads_client.h"

/* A packed Node with its metadata, reused for every first request. */
void ads_node_pack(struct bytes *out, const char *id, const struct json *metadata);

struct ads_first_request {
    const char *type_url;
    const struct bytes *node;
    const struct world *world;           /* what is retained; NULL: nothing */
    const struct ads_interest *interest; /* for types that are not the world's; may be NULL */
    bool (*is_rejected)(void *arg, const char *name);
    void *arg;
};
void ads_first_pack(struct bytes *out, const struct ads_first_request *q);
/* error NULL: an ACK. */
void ads_answer_pack(struct bytes *out, const char *type_url, const char *nonce, const char *error);
