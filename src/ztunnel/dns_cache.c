/* SPDX-License-Identifier: Apache-2.0 */
#include "ztunnel/dns_cache.h"

#include <string.h>

#include "base/list.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/num.h"

struct dns_cache {
    struct dns_cache_share *share;
    struct map by_question;
    struct list used; /* the least recently used first */
    size_t bytes;
};

struct answer {
    struct map_node by_question;
    struct list used;
    uint64_t since_ms;
    uint32_t ttl_s;
    uint16_t type;
    uint16_t class_;
    uint32_t name_len;
    uint32_t len;
    uint8_t bytes[]; /* the name as text with its terminator, then the message */
};

struct dns_cache *dns_cache_new(struct dns_cache_share *share)
{
    struct dns_cache *c = mem_new(struct dns_cache);

    c->share = share;
    map_init(&c->by_question);
    list_init(&c->used);
    return c;
}

static size_t answer_size(const struct answer *a)
{
    return sizeof(*a) + a->name_len + 1 + a->len;
}

static void drop(struct dns_cache *c, struct answer *a)
{
    size_t size = answer_size(a);

    map_remove(&c->by_question, &a->by_question);
    list_remove(&a->used);
    c->bytes -= size;
    c->share->bytes -= size;
    mem_free(a);
}

void dns_cache_free(struct dns_cache *c)
{
    if (!c) {
        return;
    }
    list_for_each_safe (n, &c->used) {
        drop(c, container_of(n, struct answer, used));
    }
    map_fini(&c->by_question);
    mem_free(c);
}

/* Of the only question. */
static uint16_t class_of(const struct dns_request *q)
{
    return be16_get(q->questions + q->questions_len - 2);
}

static bool is_old(const struct answer *a, uint64_t now_ms)
{
    return now_ms - a->since_ms >= (uint64_t)a->ttl_s * 1000;
}

static struct answer *find(const struct dns_cache *c, const struct dns_request *q)
{
    uint64_t hash = map_hash_str(q->name);

    for (struct map_node *n = map_find(&c->by_question, hash); n; n = map_find_next(n)) {
        struct answer *a = container_of(n, struct answer, by_question);
        if (a->type == q->type && a->class_ == class_of(q) &&
            strcmp((const char *)a->bytes, q->name) == 0) {
            return a;
        }
    }
    return NULL;
}

bool dns_cache_find(struct dns_cache *c, const struct dns_request *q, uint64_t now_ms,
                    struct dns_cached *out)
{
    struct answer *a = q->question_count == 1 ? find(c, q) : NULL;

    if (!a) {
        return false;
    }
    if (is_old(a, now_ms)) {
        drop(c, a);
        return false;
    }
    list_remove(&a->used);
    list_append(&c->used, &a->used);
    const uint8_t *msg = a->bytes + a->name_len + 1;
    *out = (struct dns_cached){.msg = msg,
                               .len = a->len,
                               .id = be16_get(msg),
                               .age_s = (uint32_t)((now_ms - a->since_ms) / 1000)};
    return true;
}

/* 0: the answer may not be kept. A TTL with the highest bit set counts as 0 (RFC 2181 8). */
static uint32_t ttl_of(const struct dns_forwarded *up)
{
    if (up->rcode != DNS_NOERROR || up->truncated || up->count == 0 || up->ttl_s > INT32_MAX) {
        return 0;
    }
    return MIN_OF(up->ttl_s, (uint32_t)DNS_CACHE_TTL_MAX_S);
}

static bool has_room(const struct dns_cache *c, size_t size)
{
    return c->by_question.count < DNS_CACHE_ANSWERS && c->bytes + size <= DNS_CACHE_BYTES &&
           c->share->bytes + size <= c->share->bytes_max;
}

/* What is old goes first, then what was not used for longest; never another pod's. */
static bool make_room(struct dns_cache *c, size_t size, uint64_t now_ms)
{
    if (has_room(c, size)) {
        return true;
    }
    list_for_each_safe (n, &c->used) {
        struct answer *a = container_of(n, struct answer, used);
        if (is_old(a, now_ms)) {
            drop(c, a);
        }
    }
    while (!has_room(c, size) && !list_is_empty(&c->used)) {
        drop(c, container_of(c->used.next, struct answer, used));
    }
    return has_room(c, size);
}

void dns_cache_put(struct dns_cache *c, const struct dns_request *q, const struct dns_forwarded *up,
                   const uint8_t *msg, uint64_t now_ms)
{
    uint32_t ttl_s = ttl_of(up);
    size_t name_len = strlen(q->name);
    struct answer *a;

    if (q->question_count != 1) {
        return;
    }
    a = find(c, q);
    if (a) {
        drop(c, a);
    }
    if (ttl_s == 0 || up->end > DNS_CACHE_ANSWER_BYTES ||
        !make_room(c, sizeof(*a) + name_len + 1 + up->end, now_ms)) {
        return;
    }
    a = mem_alloc(sizeof(*a) + name_len + 1 + up->end);
    *a = (struct answer){.since_ms = now_ms,
                         .ttl_s = ttl_s,
                         .type = q->type,
                         .class_ = class_of(q),
                         .name_len = (uint32_t)name_len,
                         .len = (uint32_t)up->end};
    memcpy(a->bytes, q->name, name_len + 1);
    memcpy(a->bytes + name_len + 1, msg, up->end);
    map_insert(&c->by_question, &a->by_question, map_hash_str(q->name));
    list_append(&c->used, &a->used);
    c->bytes += answer_size(a);
    c->share->bytes += answer_size(a);
}
