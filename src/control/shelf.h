/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The resources of layer 7 that one thing (a service, a gateway) has published. It is filled anew
 * whenever the thing is translated; what was there before and is not any more is removed.
 */
#pragma once

#include "base/str.h"
#include "xds/ads_type.h"
#include "xds/catalog.h"

struct shelf_item {
    enum ads_type type;
    char *name;
};

struct shelf { /* zeroed is empty */
    struct shelf_item *at;
    size_t count;
    size_t room;
};

/* What is being put on a shelf. */
struct shelf_fill {
    struct shelf *shelf;
    struct catalog *const *catalogs;
    struct shelf next;
};

void shelf_begin(struct shelf_fill *f, struct shelf *s, struct catalog *const *catalogs);
void shelf_put(struct shelf_fill *f, enum ads_type type, const char *name, struct slice wire);
/* Removes what was not put again. */
void shelf_end(struct shelf_fill *f);
/* Removes everything. */
void shelf_clear(struct shelf *s, struct catalog *const *catalogs);
/* Frees without removing. */
void shelf_fini(struct shelf *s);
