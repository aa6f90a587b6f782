/* SPDX-License-Identifier: Apache-2.0 */
/* What a world is made of; shared by world.c (reading) and delta.c (making the next one). */
#pragma once

#include "model/table_int.h"
#include "model/world.h"

enum world_index {
    INDEX_UID = 0,  /* workloads; owns them, as the other two marked tables own theirs */
    INDEX_KEY,      /* services by "ns/hostname"; owns */
    INDEX_POLICY,   /* policies by "ns/name"; owns */
    INDEX_IP,       /* workloads by network and address */
    INDEX_SELF,     /* workloads by name, namespace, service account */
    INDEX_NAMED,    /* workloads by "ns/hostname" */
    INDEX_BACKENDS, /* workloads by the key of each service they belong to */
    INDEX_VIP,      /* services by network and address */
    INDEX_CIDR,     /* services by network, one entry for each CIDR VIP */
    INDEX_HOSTNAME, /* services by hostname */
    INDEX_SCOPED,   /* policies by namespace; GLOBAL ones under a hash of their own */
    INDEX_COUNT
};

struct world {
    struct snap snap;
    uint64_t generation;
    uint64_t policy_generation;
    struct table table[INDEX_COUNT];
};

/* NULL for an index that borrows. */
const struct table_owner *world_owner(enum world_index i);

/* An empty world with one reference. */
struct world *world_alloc(struct snap_bin *bin);

uint64_t world_hash_at(const char *network, const struct ip *ip);
uint64_t world_hash_two(const char *a, const char *b);
uint64_t world_hash_self(const char *name, const char *ns, const char *service_account);
/* ns NULL: of the GLOBAL policies. */
uint64_t world_hash_scope(const char *ns);
