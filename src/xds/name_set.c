/* SPDX-License-Identifier: Apache-2.0 */
#include "xds/name_set.h"

#include "base/err.h"
#include "base/mem.h"

void name_set_fini(struct name_set *s)
{
    map_for_each (n, &s->by_name) {
        mem_free(container_of(n, struct name_item, by_name));
    }
    map_fini(&s->by_name);
    s->bytes = 0;
}

static struct name_item *find(const struct name_set *s, struct slice name)
{
    for (struct map_node *n = map_find(&s->by_name, map_hash(name.p, name.len)); n;
         n = map_find_next(n)) {
        struct name_item *i = container_of(n, struct name_item, by_name);
        if (slice_equal(name, (struct slice){i->name, i->len})) {
            return i;
        }
    }
    return NULL;
}

bool name_set_has(const struct name_set *s, struct slice name)
{
    return s->by_name.count > 0 && find(s, name);
}

int name_set_add(struct name_set *s, struct slice name, size_t limit)
{
    if (find(s, name)) {
        return 0;
    }
    if (name.len + sizeof(struct name_item) > limit - s->bytes) {
        return -ERR_LIMIT;
    }
    struct name_item *i = mem_alloc(sizeof(*i) + name.len + 1);
    i->len = name.len;
    memcpy(i->name, name.len > 0 ? name.p : "", name.len);
    map_insert(&s->by_name, &i->by_name, map_hash(name.p, name.len));
    s->bytes += name.len + sizeof(*i);
    return 1;
}

bool name_set_remove(struct name_set *s, struct slice name)
{
    struct name_item *i = find(s, name);

    if (!i) {
        return false;
    }
    map_remove(&s->by_name, &i->by_name);
    s->bytes -= i->len + sizeof(*i);
    mem_free(i);
    return true;
}
