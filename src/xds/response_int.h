/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Takes in one DeltaDiscoveryResponse piece by piece. Its resources come before its type on the wire,
 * so each is decoded by the type its own Any names; one that names another type than the response
 * turns out to have is refused.
 */
#pragma once

#include "base/map.h"
#include "base/str.h"
#include "codec/pbwalk.h"
#include "model/intern.h"
#include "model/world.h"
#include "xds/ads_client.h"
#include "xds/ads_type.h"

/* Where refused names are remembered between responses. */
struct ads_names {
    struct map by_name;
};
void ads_names_init(struct ads_names *n);
void ads_names_fini(struct ads_names *n);
bool ads_names_has(const struct ads_names *n, const char *name);

enum { ADS_NO_TYPE = ADS_CLIENT_TYPES_MAX };

struct ads_response {
    struct pbstream stream;
    const struct ads_interest *interest;
    struct intern *pool;
    struct ads_names *rejected;
    struct world_delta *delta;
    char *type_url; /* NULL until it came */
    char *nonce;
    struct strbuf errors; /* "name: reason; name: reason" */
    unsigned seen[ADS_CLIENT_TYPES_MAX + 1];
    unsigned accepted;
    unsigned refused;
    uint64_t bytes;
};

/* interest is borrowed until ads_response_fini. */
void ads_response_init(struct ads_response *r, const struct ads_interest *interest,
                       const struct world *base, struct intern *pool, struct ads_names *rejected);
void ads_response_fini(struct ads_response *r);
/* Failure means the message itself is no message: the stream has to end. */
MUST_USE int ads_response_feed(struct ads_response *r, const void *piece, size_t len,
                               struct diag *why);
/* After the last piece. *out_type is an index of the interest's types, ADS_NO_TYPE for one that nobody
 * asked about. */
MUST_USE int ads_response_end(struct ads_response *r, unsigned *out_type, struct diag *why);
