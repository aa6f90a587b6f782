/* SPDX-License-Identifier: Apache-2.0 */
#include "xds/catalog.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/rand.h"
#include "codec/pbwrite.h"
#include "t.h"
#include "xds/lookup.h"

static bool put(struct catalog *c, const char *name, const char *value)
{
    return catalog_put(c, name, slice_of(value));
}

/* The names after since, in order; "-name" for what is gone. */
static const char *tail(const struct catalog *c, uint64_t since, char buf[static 256])
{
    size_t at = 0;

    buf[0] = '\0';
    for (const struct catalog_entry *e = catalog_after(c, since); e; e = catalog_next(c, e)) {
        at += (size_t)snprintf(buf + at, 256 - at, "%s%s%s", at > 0 ? " " : "",
                               catalog_is_gone(e) ? "-" : "", e->name);
    }
    return buf;
}

TEST(a_client_hears_the_tail_once_however_often_it_changed)
{
    AUTO(catalog) struct catalog *c = catalog_new("type", true);
    char buf[256];

    CHECK(put(c, "a", "1"));
    CHECK(put(c, "b", "1"));
    uint64_t heard = catalog_seq(c);
    CHECK_STR(tail(c, heard, buf), "");
    CHECK(put(c, "a", "2"));
    CHECK(put(c, "c", "1"));
    CHECK(put(c, "a", "3"));
    CHECK(!put(c, "a", "3"));
    CHECK_STR(tail(c, heard, buf), "c a");
    CHECK_STR(tail(c, 0, buf), "b c a");
    catalog_touch(c, "b");
    catalog_touch(c, "nobody");
    CHECK_STR(tail(c, heard, buf), "c a b");
}

TEST(what_went_is_told_until_everybody_has_heard)
{
    AUTO(catalog) struct catalog *c = catalog_new("type", false);
    char buf[256];

    CHECK(put(c, "a", "1"));
    CHECK(put(c, "b", "1"));
    uint64_t heard = catalog_seq(c);
    CHECK(catalog_remove(c, "a"));
    CHECK(!catalog_remove(c, "a"));
    CHECK_INT(catalog_count(c), 1);
    CHECK_STR(tail(c, heard, buf), "-a");
    catalog_prune(c, heard);
    CHECK_INT(catalog_tombs(c), 1);
    catalog_prune(c, catalog_seq(c));
    CHECK_INT(catalog_tombs(c), 0);
    CHECK_STR(tail(c, 0, buf), "b");
    CHECK(put(c, "a", "1"));
    CHECK(catalog_remove(c, "a"));
    CHECK(put(c, "a", "1"));
    CHECK_INT(catalog_tombs(c), 0);
    CHECK_STR(tail(c, heard, buf), "a");
}

TEST(too_many_tombstones_are_forgotten_and_it_is_known)
{
    AUTO(catalog) struct catalog *c = catalog_new("type", false);
    char name[32];

    for (unsigned i = 0; i < CATALOG_TOMBS_MAX + 10; i++) {
        (void)snprintf(name, sizeof(name), "n%u", i);
        CHECK(put(c, name, "x"));
        CHECK(catalog_remove(c, name));
    }
    CHECK_INT(catalog_tombs(c), CATALOG_TOMBS_MAX);
    CHECK_INT(catalog_floor(c), 20); /* a put and a removal each */
    CHECK_INT(catalog_slots(c), CATALOG_TOMBS_MAX + 1);
}

TEST(slots_are_of_one_entry_each)
{
    AUTO(catalog) struct catalog *c = catalog_new("type", true);
    struct rand_seq seq;
    char name[16];
    bool taken[64];

    rand_seq_init(&seq, 3);
    for (unsigned i = 0; i < 4000; i++) {
        (void)snprintf(name, sizeof(name), "n%u", (unsigned)rand_seq_below(&seq, 40));
        if (rand_seq_below(&seq, 2)) {
            (void)put(c, name, rand_seq_below(&seq, 2) ? "x" : "y");
        } else {
            (void)catalog_remove(c, name); /* it may not be there */
        }
        if (rand_seq_below(&seq, 5) == 0) {
            catalog_prune(c, catalog_seq(c) - rand_seq_below(&seq, catalog_seq(c) + 1));
        }
        memset(taken, 0, sizeof(taken));
        for (const struct catalog_entry *e = catalog_after(c, 0); e; e = catalog_next(c, e)) {
            CHECK(e->slot < catalog_slots(c) && !taken[e->slot]);
            taken[e->slot] = true;
        }
        CHECK(catalog_slots(c) <= 40);
    }
}

TEST(a_body_is_the_head_of_a_resource_message)
{
    AUTO(catalog) struct catalog *c = catalog_new("T", true);
    /* version "44bc2cf5ad770999" is xxhash64 of "abc"; Any{T, abc}; name "n" */
    static const char want[] = "\x0a\x10"
                               "44bc2cf5ad770999"
                               "\x12\x08\x0a\x01T\x12\x03"
                               "abc\x1a\x01n";

    CHECK(put(c, "n", "abc"));
    const struct catalog_entry *e = catalog_find(c, slice_of("n"));
    CHECK(e);
    CHECK_INT(e->body_len, sizeof(want) - 1);
    CHECK_MEM(e->body, want, sizeof(want) - 1);
    CHECK(slice_is(catalog_value(e), "abc"));
}

TEST(versions_are_the_published_hash)
{
    static const struct {
        const char *text;
        const char *version;
    } table[] = {{"", "ef46db3751d8e999"},
                 {"a", "d24ec4f1a98c6e5b"},
                 {"abc", "44bc2cf5ad770999"},
                 {"Nobody inspects the spammish repetition", "fbcea83c8a378bf1"}};

    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        char buf[XDS_VERSION_TEXT];
        CHECK_STR(xds_version(slice_of(table[i].text), buf), table[i].version);
    }
}

/* ---- writing */

TEST(nested_messages_get_lengths_of_any_size)
{
    static const size_t sizes[] = {0, 1, 127, 128, 129, 16383, 16384, 100000};

    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        AUTO(strbuf) struct strbuf inner = {0};
        AUTO(strbuf) struct strbuf nested = {0};
        AUTO(strbuf) struct strbuf plain = {0};
        for (size_t k = 0; k < sizes[i]; k++) {
            strbuf_putc(&inner, (char)k);
        }
        size_t outer = pb_open(&nested, 3);
        size_t at = pb_open(&nested, 2);
        strbuf_add(&nested, inner.p, inner.len);
        pb_close(&nested, at);
        pb_close(&nested, outer);
        AUTO(strbuf) struct strbuf middle = {0};
        pb_put_element(&middle, 2, inner.p, inner.len);
        pb_put_element(&plain, 3, middle.p, middle.len);
        CHECK_INT(nested.len, plain.len);
        CHECK_MEM(nested.p, plain.p, plain.len);
    }
}

/* ---- finding by contents */

static void put_pod(struct catalog *c, const char *name, const char *ip, const char *node,
                    const char *service)
{
    AUTO(strbuf) struct strbuf wire = {0};
    AUTO(identity) const struct identity *id = identity_new("cluster.local", "ns", "sa");
    struct workload_service member = {.key = service};
    struct ip address;

    if (ip_parse(&address, ip, strlen(ip)) < 0) {
        return;
    }
    struct workload w = {.capacity = 1,
                         .identity = id,
                         .uid = name,
                         .node = node,
                         .ips = &address,
                         .ip_count = 1,
                         .services = &member,
                         .service_count = service ? 1 : 0};
    xds_workload_encode(&wire, &w);
    (void)catalog_put(c, name, (struct slice){wire.p, wire.len});
}

static unsigned found(struct lookup_table *l, enum lookup_kind kind, const char *key)
{
    struct lookup_cursor at = {.at = NULL};
    unsigned n = 0;

    lookup_follow(l);
    while (lookup_next(l, kind, slice_of(key), &at)) {
        n++;
    }
    return n;
}

TEST(addresses_are_found_by_what_they_hold_as_it_changes)
{
    AUTO(catalog) struct catalog *c = catalog_new("type", true);
    put_pod(c, "p", "10.0.0.1", "n1", "ns/s");
    AUTO(lookup_table) struct lookup_table *l = lookup_table_new(c);

    CHECK_INT(found(l, LOOKUP_WORKLOAD_IP, "/10.0.0.1"), 1);
    CHECK_INT(found(l, LOOKUP_SERVICE_IP, "/10.0.0.1"), 0);
    CHECK_INT(found(l, LOOKUP_NODE, "n1"), 1);
    CHECK_INT(found(l, LOOKUP_MEMBER, "ns/s"), 1);
    put_pod(c, "q", "10.0.0.1", "n1", NULL);
    CHECK_INT(found(l, LOOKUP_WORKLOAD_IP, "/10.0.0.1"), 2);
    put_pod(c, "p", "10.0.0.2", "n2", NULL);
    CHECK_INT(found(l, LOOKUP_WORKLOAD_IP, "/10.0.0.1"), 1);
    CHECK_INT(found(l, LOOKUP_WORKLOAD_IP, "/10.0.0.2"), 1);
    CHECK_INT(found(l, LOOKUP_MEMBER, "ns/s"), 0);
    CHECK(catalog_remove(c, "q"));
    CHECK_INT(found(l, LOOKUP_NODE, "n1"), 0);
}
