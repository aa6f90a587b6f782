/* SPDX-License-Identifier: Apache-2.0 */
/* A bounded set of names. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/map.h"
#include "base/str.h"

struct name_set { /* zeroed is empty and ready */
    struct map by_name;
    size_t bytes;
};

struct name_item {
    struct map_node by_name;
    size_t len;
    char name[]; /* terminated */
};

void name_set_fini(struct name_set *s);
bool name_set_has(const struct name_set *s, struct slice name);
/* 1: it is new; 0: it was there; -ERR_LIMIT: bytes of names would be more than limit. */
MUST_USE int name_set_add(struct name_set *s, struct slice name, size_t limit);
bool name_set_remove(struct name_set *s, struct slice name);
/* Any order; the one passed may have been removed. */
#define name_set_for_each(it, s) map_for_each (it, &(s)->by_name)
