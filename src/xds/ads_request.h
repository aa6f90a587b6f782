/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Takes in one DeltaDiscoveryRequest piece by piece (contract 5.3-5.5). A client that comes back names
 * everything it holds, a hundred thousand names and versions: each is compared as it passes, and what
 * stays is one bit for a resource that is still the same and the names of those that are gone.
 *
 * The type has to come before the names, as it does in every message that is written in the order of
 * its fields.
 */
#pragma once

#include <stdint.h>

#include "codec/pbwalk.h"
#include "xds/catalog.h"
#include "xds/name_set.h"
#include "xds/response_int.h"

enum {
    ADS_FIELD_BYTES_MAX = 1 << 20,
    ADS_NAMES_BYTES_MAX = 16 << 20, /* of the names one client may ask for, or has to forget */
    ADS_NODE_TEXT_MAX = 1024
};

struct ads_node { /* the caller's; NULL where absent */
    char *id;
    char *ns;      /* metadata NAMESPACE */
    char *node;    /* metadata NODE_NAME */
    char *account; /* metadata SERVICE_ACCOUNT */
    char *gateway; /* metadata GATEWAY: the name of the Gateway that it serves */
};
void ads_node_fini(struct ads_node *n);

struct ads_request {
    struct pbstream stream;
    const struct catalog *const *catalogs; /* ADS_TYPES of them */
    struct ads_node node;
    char *type_url; /* NULL until it came */
    enum ads_type type;
    char *nonce;
    char *error; /* NULL: none */
    struct name_set subscribe;
    struct name_set unsubscribe;
    struct name_set gone; /* held by the client, not by us */
    struct name_set held; /* every name the client holds, for one that asks for names only */
    uint8_t *same;        /* a bit a slot: the client's version is ours */
    uint32_t same_bits;
    uint64_t same_at; /* the sequence at which that was so */
};

void ads_request_init(struct ads_request *r, const struct catalog *const *catalogs);
void ads_request_fini(struct ads_request *r);
/* Failure means the message is none, or that it asks for too much. */
MUST_USE int ads_request_feed(struct ads_request *r, const void *piece, size_t len,
                              struct diag *why);
/* After the last piece. */
MUST_USE int ads_request_end(struct ads_request *r, struct diag *why);
/* The client holds e as it is. */
bool ads_request_is_same(const struct ads_request *r, const struct catalog_entry *e);
