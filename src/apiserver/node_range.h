/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which addresses a node's credential may give to its pods. A node's range (spec.podCIDRs of its Node) is
 * set once, apart from the ranges of other nodes and of services; from then on only an administrator
 * changes it. New addresses in a pod's status lie in it, and no pod of another node has them. Pods with
 * hostNetwork are no exception: nobody vouches for a node's own address. Administrators are not limited.
 */
#pragma once

#include "base/err.h"

struct call;
struct json;

enum { NODE_RANGES_MAX = 8, NODE_POD_ADDRESSES_MAX = 8 };

/* Before a Node or Pod that belongs to the caller's node is stored; old is NULL where it is new. 0, or the
 * refusal is written. */
MUST_USE int node_range_check(struct call *c, const struct json *object, const struct json *old);
