/* SPDX-License-Identifier: Apache-2.0 */
#include "control/shelf.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

void shelf_begin(struct shelf_fill *f, struct shelf *s, struct catalog *const *catalogs)
{
    *f = (struct shelf_fill){.shelf = s, .catalogs = catalogs};
}

void shelf_put(struct shelf_fill *f, enum ads_type type, const char *name, struct slice wire)
{
    struct shelf *s = &f->next;

    if (s->count == s->room) {
        s->room = s->room * 2 + 4;
        s->at = mem_resize(s->at, s->room * sizeof(*s->at));
    }
    s->at[s->count++] = (struct shelf_item){type, mem_strdup(name)};
    (void)catalog_put(f->catalogs[type], name, wire);
}

static int by_name(const void *a, const void *b)
{
    const struct shelf_item *x = a;
    const struct shelf_item *y = b;

    return x->type != y->type ? (x->type < y->type ? -1 : 1) : strcmp(x->name, y->name);
}

void shelf_end(struct shelf_fill *f)
{
    struct shelf *old = f->shelf;
    size_t k = 0;

    if (f->next.count > 0) {
        qsort(f->next.at, f->next.count, sizeof(*f->next.at), by_name);
    }
    for (size_t i = 0; i < old->count; i++) {
        while (k < f->next.count && by_name(&f->next.at[k], &old->at[i]) < 0) {
            k++;
        }
        if (k == f->next.count || by_name(&f->next.at[k], &old->at[i]) != 0) {
            (void)catalog_remove(f->catalogs[old->at[i].type], old->at[i].name);
        }
    }
    shelf_fini(old);
    *old = f->next;
}

void shelf_clear(struct shelf *s, struct catalog *const *catalogs)
{
    for (size_t i = 0; i < s->count; i++) {
        (void)catalog_remove(catalogs[s->at[i].type], s->at[i].name);
    }
    shelf_fini(s);
}

void shelf_fini(struct shelf *s)
{
    for (size_t i = 0; i < s->count; i++) {
        mem_free(s->at[i].name);
    }
    mem_free(s->at);
    *s = (struct shelf){.at = NULL};
}
