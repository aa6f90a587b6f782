/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How objects go: at once; or first marked (deletionTimestamp), because a finalizer holds them, or
 * because they are pods on a node, whose agent ends them and then deletes with a grace of 0.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct api;
struct json;
struct kind;
struct object;

struct deletion {
    int64_t grace_s; /* negative: what the pod says */
    int64_t now_s;
    bool dry_run;
};

/* Nothing holds it any more: it is marked, without finalizers and without grace. */
bool delete_is_due(const struct kind *kind, const struct json *body);
/* Because its namespace goes. Spends from budget for each change. True: removed. */
bool delete_for_namespace(struct api *a, struct object *o, int64_t now_s, unsigned *budget);
