/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a node's credential may not write into objects of its own node: a finalizer, with which whoever took the
 * node would keep a pod, its address and its identity against an administrator who deletes it; and what makes a
 * pod a waypoint's replica, for the control plane ends others where it counts that one.
 */
#pragma once

#include "base/err.h"

struct call;
struct json;

/* Before an object is stored; old is NULL where it is new. 0, or the refusal is written. */
MUST_USE int node_marks_check(struct call *c, const struct json *object, const struct json *old);
