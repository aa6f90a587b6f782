/* SPDX-License-Identifier: Apache-2.0 */
#include "xds/lookup.h"

#include "base/ip.h"
#include "base/mem.h"
#include "codec/pbwalk.h"

struct lookup_key {
    struct map_node by_key;
    struct lookup_item *item;
    struct lookup_key *next; /* of the same item */
    char kind;
    size_t len;
    char text[];
};

struct lookup_item {
    struct map_node by_name;
    struct lookup_key *keys;
    char name[];
};

struct lookup_table {
    const struct catalog *catalog;
    uint64_t heard;
    struct map by_name;
    struct map by_key;
};

/* ---- keys in the wire form: field numbers of contract 5.7 */

enum { ADDRESS_WORKLOAD = 1, ADDRESS_SERVICE = 2 };
enum { WORKLOAD_ADDRESS = 3, WORKLOAD_NETWORK = 4, WORKLOAD_NODE = 9, WORKLOAD_MEMBER = 22 };
enum { SERVICE_VIP = 4, VIP_NETWORK = 1, VIP_ADDRESS = 2, VIP_LENGTH = 3, ENTRY_KEY = 1 };

/* What the encoder wrote always reads; anything else simply has no keys. */
static bool next_field(struct pbwalk *w, struct pb_field *f)
{
    return pbwalk_next(w, f) == 1;
}

static void visit_ip(lookup_visit *visit, void *arg, enum lookup_kind kind, struct slice network,
                     const struct pb_field *address, int64_t prefix)
{
    struct strbuf text = {0};
    char buf[IP_TEXT];
    struct ip ip;

    if (ip_from_bytes(&ip, address->bytes, address->len) == 0) {
        strbuf_add(&text, network.p, network.len);
        strbuf_printf(&text, "/%s", ip_format(&ip, buf));
        if (prefix >= 0) {
            strbuf_printf(&text, "/%lld", (long long)prefix);
        }
        visit(arg, kind, (struct slice){text.p, text.len});
    }
    strbuf_fini(&text);
}

static struct slice text_of(const struct pb_field *f)
{
    return (struct slice){(const char *)f->bytes, f->len};
}

static struct slice find_text(struct slice message, uint32_t number)
{
    struct pb_field f;

    return pbwalk_find(message.p, message.len, number, &f) == 1 ? text_of(&f)
                                                                : (struct slice){"", 0};
}

static void workload_keys(struct slice m, lookup_visit *visit, void *arg)
{
    struct slice network = find_text(m, WORKLOAD_NETWORK);
    struct pbwalk w;
    struct pb_field f;

    pbwalk_init(&w, m.p, m.len);
    while (next_field(&w, &f)) {
        if (f.number == WORKLOAD_ADDRESS) {
            visit_ip(visit, arg, LOOKUP_WORKLOAD_IP, network, &f, -1);
        } else if (f.number == WORKLOAD_NODE) {
            visit(arg, LOOKUP_NODE, text_of(&f));
        } else if (f.number == WORKLOAD_MEMBER) {
            visit(arg, LOOKUP_MEMBER, find_text(text_of(&f), ENTRY_KEY));
        }
    }
}

static void vip_keys(struct slice m, lookup_visit *visit, void *arg)
{
    struct slice network = {"", 0};
    struct pb_field address = {.len = 0};
    int64_t length = -1;
    struct pbwalk w;
    struct pb_field f;

    pbwalk_init(&w, m.p, m.len);
    while (next_field(&w, &f)) {
        if (f.number == VIP_NETWORK) {
            network = text_of(&f);
        } else if (f.number == VIP_ADDRESS) {
            address = f;
        } else if (f.number == VIP_LENGTH) {
            length = (int64_t)(f.value & 0xff);
        }
    }
    visit_ip(visit, arg, LOOKUP_SERVICE_IP, network, &address, length);
}

static void service_keys(struct slice m, lookup_visit *visit, void *arg)
{
    struct pbwalk w;
    struct pb_field f;

    pbwalk_init(&w, m.p, m.len);
    while (next_field(&w, &f)) {
        if (f.number == SERVICE_VIP) {
            vip_keys(text_of(&f), visit, arg);
        }
    }
}

void lookup_keys(struct slice address, lookup_visit *visit, void *arg)
{
    struct pbwalk w;
    struct pb_field f;

    pbwalk_init(&w, address.p, address.len);
    while (next_field(&w, &f)) {
        if (f.number == ADDRESS_WORKLOAD) {
            workload_keys(text_of(&f), visit, arg);
        } else if (f.number == ADDRESS_SERVICE) {
            service_keys(text_of(&f), visit, arg);
        }
    }
}

/* ---- following */

static uint64_t key_hash(char kind, struct slice key)
{
    return map_hash(key.p, key.len) * 31 + (uint64_t)kind;
}

struct filing {
    struct lookup_table *lookup;
    struct lookup_item *item;
};

static void file_key(void *arg, enum lookup_kind kind, struct slice key)
{
    struct filing *f = arg;
    struct lookup_key *k = mem_alloc(sizeof(*k) + key.len + 1);

    k->item = f->item;
    k->next = f->item->keys;
    k->kind = (char)kind;
    k->len = key.len;
    memcpy(k->text, key.len > 0 ? key.p : "", key.len);
    f->item->keys = k;
    map_insert(&f->lookup->by_key, &k->by_key, key_hash(k->kind, key));
}

static void item_drop(struct lookup_table *l, struct lookup_item *i)
{
    while (i->keys) {
        struct lookup_key *next = i->keys->next;
        map_remove(&l->by_key, &i->keys->by_key);
        mem_free(i->keys);
        i->keys = next;
    }
    map_remove(&l->by_name, &i->by_name);
    mem_free(i);
}

static struct lookup_item *item_find(const struct lookup_table *l, const char *name)
{
    for (struct map_node *n = map_find(&l->by_name, map_hash_str(name)); n; n = map_find_next(n)) {
        struct lookup_item *i = container_of(n, struct lookup_item, by_name);
        if (strcmp(i->name, name) == 0) {
            return i;
        }
    }
    return NULL;
}

static void take_in(struct lookup_table *l, const struct catalog_entry *e)
{
    struct lookup_item *i = item_find(l, e->name);
    size_t len = strlen(e->name) + 1;

    if (i) {
        item_drop(l, i);
    }
    if (catalog_is_gone(e)) {
        return;
    }
    i = mem_alloc(sizeof(*i) + len);
    memcpy(i->name, e->name, len);
    map_insert(&l->by_name, &i->by_name, map_hash_str(e->name));
    struct filing f = {l, i};
    lookup_keys(catalog_value(e), file_key, &f);
}

static void clear(struct lookup_table *l)
{
    map_for_each (n, &l->by_name) {
        item_drop(l, container_of(n, struct lookup_item, by_name));
    }
    l->heard = 0;
}

void lookup_follow(struct lookup_table *l)
{
    if (l->heard < catalog_floor(l->catalog)) {
        clear(l);
    }
    const struct catalog_entry *e = catalog_after(l->catalog, l->heard);
    for (; e; e = catalog_next(l->catalog, e)) {
        take_in(l, e);
    }
    l->heard = catalog_seq(l->catalog);
}

struct lookup_table *lookup_table_new(const struct catalog *c)
{
    struct lookup_table *l = mem_new(struct lookup_table);

    l->catalog = c;
    map_init(&l->by_name);
    map_init(&l->by_key);
    return l;
}

void lookup_table_free(struct lookup_table *l)
{
    if (l) {
        clear(l);
        map_fini(&l->by_name);
        map_fini(&l->by_key);
        mem_free(l);
    }
}

const char *lookup_next(const struct lookup_table *l, enum lookup_kind kind, struct slice key,
                        struct lookup_cursor *c)
{
    c->at = c->at ? map_find_next(c->at) : map_find(&l->by_key, key_hash((char)kind, key));
    for (; c->at; c->at = map_find_next(c->at)) {
        const struct lookup_key *k = container_of(c->at, struct lookup_key, by_key);
        if (k->kind == (char)kind && slice_equal(key, (struct slice){k->text, k->len})) {
            return k->item->name;
        }
    }
    return NULL;
}
