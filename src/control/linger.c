/* SPDX-License-Identifier: Apache-2.0 */
#include "control/linger.h"

#include <string.h>

#include "base/mem.h"
#include "control/index_int.h"

struct leftover {
    struct list in_index;
    uint64_t due_ms;
    const char *ns; /* of the service; interned; both "": the gateway's own */
    const char *name;
    const char *gateway_ns;
    const char *gateway;
    struct shelf shelf;
};

static void leftover_free(struct leftover *l)
{
    list_remove(&l->in_index);
    text_unref(l->ns);
    text_unref(l->name);
    text_unref(l->gateway_ns);
    text_unref(l->gateway);
    shelf_fini(&l->shelf);
    mem_free(l);
}

static void begin(struct index *x, struct shelf *shelf, const char *ns, const char *name,
                  const struct gateway_item *from)
{
    if (shelf->count == 0) {
        return;
    }
    struct leftover *l = mem_new(struct leftover);
    l->due_ms = x->now_ms + LINGER_MS;
    l->ns = intern_text(x->pool, ns);
    l->name = intern_text(x->pool, name);
    l->gateway_ns = intern_text(x->pool, from->space->name);
    l->gateway = intern_text(x->pool, from->name);
    l->shelf = *shelf;
    *shelf = (struct shelf){.at = NULL};
    list_append(&x->lingering, &l->in_index);
}

void linger_begin(struct index *x, struct service_item *s, const struct gateway_item *from)
{
    begin(x, &s->shelf, s->space->name, s->name, from);
}

void linger_begin_gateway(struct index *x, struct gateway_item *g)
{
    begin(x, &g->shelf, "", "", g);
}

static bool is_on(const struct shelf *s, const struct shelf_item *item)
{
    for (size_t i = 0; s && i < s->count; i++) {
        if (s->at[i].type == item->type && strcmp(s->at[i].name, item->name) == 0) {
            return true;
        }
    }
    return false;
}

/* But for what the service has published again. */
static void end(struct index *x, struct leftover *l)
{
    const struct service_item *s = service_find(x, l->ns, l->name);

    for (size_t i = 0; i < l->shelf.count; i++) {
        const struct shelf_item *item = &l->shelf.at[i];
        if (!is_on(s ? &s->shelf : NULL, item)) {
            (void)catalog_remove(x->catalogs[item->type],
                                 item->name); /* it may have lingered twice */
        }
    }
    leftover_free(l);
}

static bool is_of(const struct leftover *l, const char *ns, const char *name,
                  const struct gateway_item *at)
{
    return strcmp(l->ns, ns) == 0 && strcmp(l->name, name) == 0 &&
           strcmp(l->gateway_ns, at->space->name) == 0 && strcmp(l->gateway, at->name) == 0;
}

void linger_end(struct index *x, const struct service_item *s, const struct gateway_item *at)
{
    list_for_each_safe (n, &x->lingering) {
        struct leftover *l = container_of(n, struct leftover, in_index);
        if (is_of(l, s->space->name, s->name, at)) {
            end(x, l);
        }
    }
}

void linger_end_gateway(struct index *x, struct gateway_item *g)
{
    list_for_each_safe (n, &x->lingering) {
        struct leftover *l = container_of(n, struct leftover, in_index);
        if (is_of(l, "", "", g)) { /* once: its own shelf has been empty since */
            g->shelf = l->shelf;
            l->shelf = (struct shelf){.at = NULL};
            leftover_free(l);
        }
    }
}

void linger_expire(struct index *x, uint64_t now_ms)
{
    list_for_each_safe (n, &x->lingering) {
        struct leftover *l = container_of(n, struct leftover, in_index);
        if (l->due_ms <= now_ms) {
            end(x, l);
        }
    }
}

void linger_drop(struct index *x)
{
    list_for_each_safe (n, &x->lingering) {
        leftover_free(container_of(n, struct leftover, in_index));
    }
}
