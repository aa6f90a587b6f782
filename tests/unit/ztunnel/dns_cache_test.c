/* SPDX-License-Identifier: Apache-2.0 */
#include "ztunnel/dns_cache.h"

#include <stdio.h>
#include <string.h>

#include "base/num.h"
#include "t.h"

enum { CLASS_IN = 1, CLASS_CHAOS = 3 };

struct exchange { /* a question and upstream's answer to it */
    uint8_t query[300];
    size_t query_len;
    uint8_t reply[4400];
    size_t reply_len;
    struct dns_request q;
    struct dns_forwarded up;
};

static size_t put_name(uint8_t *to, const char *name)
{
    uint8_t *at = to;

    while (*name != '\0') {
        size_t len = strcspn(name, ".");
        *at++ = (uint8_t)len;
        memcpy(at, name, len);
        at += len;
        name += len + (name[len] == '.');
    }
    *at++ = 0;
    return (size_t)(at - to);
}

static void put_record(struct exchange *x, uint16_t type, uint32_t ttl_s, uint8_t last)
{
    uint8_t *r = x->reply + x->reply_len;

    be16_put(r, 0xc00c);
    be16_put(r + 2, type);
    be16_put(r + 4, CLASS_IN);
    be32_put(r + 6, ttl_s);
    be16_put(r + 10, 4);
    memcpy(r + 12, (uint8_t[]){192, 0, 2, last}, 4);
    x->reply_len += 16;
}

struct said {
    const char *name;
    uint16_t type, class_; /* 0: A, IN */
    unsigned records;
    uint32_t ttl_s; /* of the last record; the others' is 1000 more */
    uint8_t rcode, last;
    bool truncated;
};

/* False: the test's own messages do not parse. */
static bool make(struct exchange *x, const struct said *s)
{
    uint16_t type = s->type ? s->type : DNS_A;

    *x = (struct exchange){.query_len = DNS_HEADER};
    be16_put(x->query, 0x1234);
    be16_put(x->query + 2, 0x0100);
    be16_put(x->query + 4, 1);
    x->query_len += put_name(x->query + DNS_HEADER, s->name);
    be16_put(x->query + x->query_len, type);
    be16_put(x->query + x->query_len + 2, s->class_ ? s->class_ : CLASS_IN);
    x->query_len += 4;
    memcpy(x->reply, x->query, x->query_len);
    x->reply_len = x->query_len;
    be16_put(x->reply + 2, (uint16_t)(0x8180 | (s->truncated ? 0x0200 : 0) | s->rcode));
    be16_put(x->reply + 6, (uint16_t)s->records);
    for (unsigned i = 0; i < s->records; i++) {
        put_record(x, type, i + 1 < s->records ? s->ttl_s + 1000 : s->ttl_s, s->last);
    }
    return dns_request_parse(&x->q, x->query, x->query_len) == 0 &&
           dns_forwarded_parse(&x->up, &x->q, 0x1234, x->reply, x->reply_len) == 0;
}

static bool put(struct dns_cache *c, const struct said *s, uint64_t now_ms)
{
    struct exchange x;

    if (!make(&x, s)) {
        return false;
    }
    dns_cache_put(c, &x.q, &x.up, x.reply, now_ms);
    return true;
}

/* The last byte of the address that is known; -1: none is. */
static int get(struct dns_cache *c, const struct said *s, uint64_t now_ms, uint32_t *age_s)
{
    struct exchange x;
    struct dns_cached known;
    struct dns_forwarded up;

    if (!make(&x, s) || !dns_cache_find(c, &x.q, now_ms, &known) ||
        dns_forwarded_parse(&up, &x.q, known.id, known.msg, known.len) < 0) {
        return -1;
    }
    *age_s = known.age_s;
    return known.msg[up.end - 1];
}

static int known(struct dns_cache *c, const char *name, uint64_t now_ms)
{
    uint32_t age_s;

    return get(c, &(struct said){.name = name, .records = 1}, now_ms, &age_s);
}

static struct dns_cache_share roomy(void)
{
    return (struct dns_cache_share){.bytes_max = DNS_CACHE_SHARE_BYTES};
}

TEST(an_answer_lasts_as_long_as_its_shortest_record)
{
    struct dns_cache_share share = roomy();
    AUTO(dns_cache) struct dns_cache *c = dns_cache_new(&share);
    struct said s = {.name = "out.example", .records = 3, .ttl_s = 20, .last = 7};
    uint32_t age_s = 99;

    CHECK(put(c, &s, 5000));
    CHECK_INT(get(c, &s, 5000, &age_s), 7);
    CHECK_INT(age_s, 0);
    CHECK_INT(get(c, &s, 24999, &age_s), 7);
    CHECK_INT(age_s, 19); /* each record has a second left */
    CHECK_INT(get(c, &s, 25000, &age_s), -1);
    CHECK_INT(share.bytes, 0);
}

TEST(a_long_promise_is_cut_and_an_impossible_one_is_none)
{
    static const struct {
        uint32_t ttl_s;
        uint64_t last_ms; /* the last moment it is known; 0: never */
    } rows[] = {{0, 0}, {1, 999}, {86400, 299999}, {INT32_MAX, 299999}, {0x80000000, 0}};

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct dns_cache_share share = roomy();
        AUTO(dns_cache) struct dns_cache *c = dns_cache_new(&share);
        CHECK(put(c, &(struct said){.name = "a.b", .records = 1, .ttl_s = rows[i].ttl_s, .last = 1},
                  0));
        printf("# ttl %u\n", rows[i].ttl_s);
        CHECK_INT(known(c, "a.b", rows[i].last_ms), rows[i].last_ms > 0 ? 1 : -1);
        CHECK_INT(known(c, "a.b", rows[i].last_ms + 1), -1);
    }
}

TEST(failures_and_halves_are_not_kept)
{
    static const struct said rows[] = {
        {.name = "a.b", .rcode = DNS_NXDOMAIN},
        {.name = "a.b", .rcode = DNS_SERVFAIL},
        {.name = "a.b"},
        {.name = "a.b", .records = 1, .ttl_s = 60, .rcode = DNS_NXDOMAIN},
        {.name = "a.b", .records = 1, .ttl_s = 60, .truncated = true},
    };
    struct dns_cache_share share = roomy();
    AUTO(dns_cache) struct dns_cache *c = dns_cache_new(&share);

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        CHECK(put(c, &rows[i], 0));
        CHECK_INT(share.bytes, 0);
    }
}

TEST(a_failure_ends_what_was_known_before)
{
    struct dns_cache_share share = roomy();
    AUTO(dns_cache) struct dns_cache *c = dns_cache_new(&share);

    CHECK(put(c, &(struct said){.name = "a.b", .records = 1, .ttl_s = 60, .last = 1}, 0));
    CHECK(put(c, &(struct said){.name = "a.b", .rcode = DNS_NXDOMAIN}, 10));
    CHECK_INT(known(c, "a.b", 10), -1);
}

TEST(only_the_same_question_has_the_answer)
{
    struct dns_cache_share share = roomy();
    AUTO(dns_cache) struct dns_cache *c = dns_cache_new(&share);
    AUTO(dns_cache) struct dns_cache *other_pod = dns_cache_new(&share);
    struct said s = {.name = "a.b", .type = 65, .records = 1, .ttl_s = 60, .last = 9};
    uint32_t age_s;

    CHECK(put(c, &s, 0));
    CHECK_INT(get(c, &s, 1, &age_s), 9);
    CHECK_INT(get(other_pod, &s, 1, &age_s), -1);
    s.type = 97; /* 65 and 97 differ as 'A' and 'a' do */
    CHECK_INT(get(c, &s, 1, &age_s), -1);
    s.type = 65;
    s.class_ = CLASS_CHAOS;
    CHECK_INT(get(c, &s, 1, &age_s), -1);
    s.class_ = CLASS_IN;
    s.name = "A.B";
    CHECK_INT(get(c, &s, 1, &age_s), 9);
    s.name = "a.b.c";
    CHECK_INT(get(c, &s, 1, &age_s), -1);
    s.name = "ab";
    CHECK_INT(get(c, &s, 1, &age_s), -1);
}

TEST(types_and_classes_of_a_name_are_kept_side_by_side)
{
    struct dns_cache_share share = roomy();
    AUTO(dns_cache) struct dns_cache *c = dns_cache_new(&share);
    struct said s[] = {{.name = "a.b", .type = DNS_A, .class_ = CLASS_IN},
                       {.name = "a.b", .type = DNS_AAAA, .class_ = CLASS_IN},
                       {.name = "a.b", .type = DNS_A, .class_ = CLASS_CHAOS}};
    uint32_t age_s;

    for (uint8_t i = 0; i < ARRAY_LEN(s); i++) {
        s[i].records = 1;
        s[i].ttl_s = 60;
        s[i].last = i;
        CHECK(put(c, &s[i], 0));
    }
    for (uint8_t i = 0; i < ARRAY_LEN(s); i++) {
        CHECK_INT(get(c, &s[i], 1, &age_s), i);
    }
}

TEST(a_newer_answer_replaces_the_older)
{
    struct dns_cache_share share = roomy();
    AUTO(dns_cache) struct dns_cache *c = dns_cache_new(&share);

    CHECK(put(c, &(struct said){.name = "a.b", .records = 1, .ttl_s = 60, .last = 1}, 0));
    size_t bytes = share.bytes;
    CHECK(put(c, &(struct said){.name = "a.b", .records = 1, .ttl_s = 60, .last = 2}, 10));
    CHECK_INT(known(c, "a.b", 60009), 2);
    CHECK_INT(share.bytes, bytes);
}

TEST(what_was_not_used_for_longest_makes_room)
{
    struct dns_cache_share share = roomy();
    AUTO(dns_cache) struct dns_cache *c = dns_cache_new(&share);
    char name[32];
    int kept = 0;

    for (int i = 0; i < DNS_CACHE_ANSWERS + 10; i++) {
        (void)snprintf(name, sizeof(name), "n%d.example", i);
        CHECK(put(c, &(struct said){.name = name, .records = 1, .ttl_s = 60, .last = 1}, 0));
        CHECK_INT(known(c, "n0.example", 0), 1); /* used all the time */
    }
    for (int i = 0; i < DNS_CACHE_ANSWERS + 10; i++) {
        (void)snprintf(name, sizeof(name), "n%d.example", i);
        kept += known(c, name, 0) == 1;
        CHECK(i == 0 || i > 10 || known(c, name, 0) == -1);
    }
    CHECK_INT(kept, DNS_CACHE_ANSWERS);
}

TEST(bytes_are_bounded_for_a_pod_and_for_all)
{
    struct dns_cache_share share = {.bytes_max = DNS_CACHE_BYTES + 5000};
    AUTO(dns_cache) struct dns_cache *c = dns_cache_new(&share);
    AUTO(dns_cache) struct dns_cache *other = dns_cache_new(&share);
    struct said large = {.records = 240, .ttl_s = 60, .last = 1};
    char name[32];

    large.name = "first.example";
    CHECK(put(other, &large, 0));
    for (int i = 0; i < 40; i++) {
        (void)snprintf(name, sizeof(name), "n%d.example", i);
        large.name = name;
        CHECK(put(c, &large, 0));
        CHECK_INT(known(c, name, 0), 1);
        CHECK(share.bytes <= share.bytes_max);
    }
    CHECK(share.bytes > DNS_CACHE_BYTES);
    CHECK_INT(known(other, "first.example", 0), 1); /* never another pod's */
    large.name = "second.example";
    CHECK(put(other, &large, 0)); /* its own goes */
    CHECK_INT(known(other, "first.example", 0), -1);
    large = (struct said){.name = "huge.example", .records = 260, .ttl_s = 60};
    size_t before = share.bytes;
    CHECK(put(c, &large, 0));
    CHECK_INT(share.bytes, before);
}

TEST(one_pod_does_not_take_what_is_meant_for_all)
{
    struct dns_cache_share share = roomy();
    AUTO(dns_cache) struct dns_cache *c = dns_cache_new(&share);
    char name[32];

    for (int i = 0; i < 40; i++) {
        (void)snprintf(name, sizeof(name), "n%d.example", i);
        CHECK(put(c, &(struct said){.name = name, .records = 240, .ttl_s = 60}, 0));
    }
    CHECK(share.bytes > DNS_CACHE_BYTES / 2 && share.bytes <= DNS_CACHE_BYTES);
}

TEST(what_is_old_makes_room_first)
{
    struct dns_cache_share share = roomy();
    AUTO(dns_cache) struct dns_cache *c = dns_cache_new(&share);
    char name[32];

    CHECK(put(c, &(struct said){.name = "long.example", .records = 1, .ttl_s = 60, .last = 1}, 0));
    for (int i = 1; i < DNS_CACHE_ANSWERS; i++) {
        (void)snprintf(name, sizeof(name), "n%d.example", i);
        CHECK(put(c, &(struct said){.name = name, .records = 1, .ttl_s = 1, .last = 1}, 0));
    }
    CHECK(
        put(c, &(struct said){.name = "new.example", .records = 1, .ttl_s = 60, .last = 2}, 2000));
    CHECK_INT(known(c, "long.example", 2000), 1);
    CHECK_INT(known(c, "new.example", 2000), 2);
}
