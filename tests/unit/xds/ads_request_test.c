/* SPDX-License-Identifier: Apache-2.0 */
#include "xds/ads_request.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "codec/pbwrite.h"
#include "t.h"

struct rig {
    struct catalog *c[ADS_TYPES];
    const struct catalog *readable[ADS_TYPES];
    struct ads_request q;
    struct diag why;
    int result;
};

static void rig_open(struct rig *g)
{
    *g = (struct rig){.result = 0};
    for (unsigned i = 0; i < ADS_TYPES; i++) {
        g->c[i] = catalog_new(ads_type_urls[i], i != ADS_AUTHORIZATION);
        g->readable[i] = g->c[i];
    }
}

static void rig_close(struct rig *g)
{
    ads_request_fini(&g->q);
    for (unsigned i = 0; i < ADS_TYPES; i++) {
        catalog_free(g->c[i]);
    }
}

/* In pieces of that size. */
static void feed(struct rig *g, const struct strbuf *message, size_t piece)
{
    ads_request_fini(&g->q);
    ads_request_init(&g->q, g->readable);
    g->why = (struct diag){.code = 0};
    g->result = 0;
    for (size_t at = 0; g->result == 0 && at < message->len; at += piece) {
        size_t n = message->len - at < piece ? message->len - at : piece;
        g->result = ads_request_feed(&g->q, message->p + at, n, &g->why);
    }
    if (g->result == 0) {
        g->result = ads_request_end(&g->q, &g->why);
    }
}

static void put_pair(struct strbuf *out, uint32_t field, const char *key, const char *value)
{
    size_t at = pb_open(out, field);

    pb_put_text(out, 1, key);
    pb_put_text(out, 2, value);
    pb_close(out, at);
}

static void put_metadata(struct strbuf *out, const char *key, const char *value)
{
    size_t entry = pb_open(out, 1);

    pb_put_text(out, 1, key);
    size_t at = pb_open(out, 2);
    pb_put_text(out, 3, value);
    pb_close(out, at);
    pb_close(out, entry);
}

static void put_node(struct strbuf *out)
{
    size_t node = pb_open(out, 1);

    pb_put_text(out, 1, "ztunnel~1.2.3.4~a.b~b.svc.cluster.local");
    pb_put_text(out, 2, "ignored");
    size_t metadata = pb_open(out, 3);
    put_metadata(out, "NAMESPACE", "istio-system");
    put_metadata(out, "NODE_NAME", "node-1");
    put_metadata(out, "OTHER", "x");
    pb_close(out, metadata);
    pb_close(out, node);
}

static bool is_as_sent(const struct rig *g)
{
    const struct ads_request *q = &g->q;

    return g->result == 0 && q->type == ADS_ADDRESS && q->node.id &&
           strcmp(q->node.ns, "istio-system") == 0 && strcmp(q->node.node, "node-1") == 0 &&
           !q->node.account && q->subscribe.by_name.count == 2 &&
           name_set_has(&q->subscribe, slice_of("*")) && q->unsubscribe.by_name.count == 1 &&
           q->gone.by_name.count == 1 && name_set_has(&q->gone, slice_of("gone")) &&
           strcmp(q->nonce, "n") == 0 && strcmp(q->error, "why") == 0;
}

TEST(a_request_is_the_same_in_pieces_of_any_size)
{
    AUTO(strbuf) struct strbuf m = {0};
    struct rig g;

    rig_open(&g);
    CHECK(catalog_put(g.c[ADS_ADDRESS], "same", slice_of("x")));
    CHECK(catalog_put(g.c[ADS_ADDRESS], "changed", slice_of("x")));
    const char *version = catalog_find(g.c[ADS_ADDRESS], slice_of("same"))->version;
    put_node(&m);
    pb_put_text(&m, 2, XDS_TYPE_ADDRESS);
    pb_put_text(&m, 3, "*");
    pb_put_text(&m, 3, "name");
    pb_put_text(&m, 4, "other");
    put_pair(&m, 5, "same", version);
    put_pair(&m, 5, "changed", "0");
    put_pair(&m, 5, "gone", version);
    pb_put_text(&m, 6, "n");
    size_t status = pb_open(&m, 7);
    pb_put_number(&m, 1, 3);
    pb_put_text(&m, 2, "why");
    pb_close(&m, status);
    bool good = true;
    for (size_t piece = 1; piece <= m.len; piece++) {
        feed(&g, &m, piece);
        good &= is_as_sent(&g) &&
                ads_request_is_same(&g.q, catalog_find(g.c[ADS_ADDRESS], slice_of("same"))) &&
                !ads_request_is_same(&g.q, catalog_find(g.c[ADS_ADDRESS], slice_of("changed")));
    }
    rig_close(&g);
    CHECK(good);
}

TEST(what_changes_after_it_was_compared_is_not_the_same)
{
    AUTO(strbuf) struct strbuf m = {0};
    struct rig g;

    rig_open(&g);
    CHECK(catalog_put(g.c[ADS_ADDRESS], "a", slice_of("x")));
    pb_put_text(&m, 2, XDS_TYPE_ADDRESS);
    put_pair(&m, 5, "a", catalog_find(g.c[ADS_ADDRESS], slice_of("a"))->version);
    feed(&g, &m, m.len);
    bool before = ads_request_is_same(&g.q, catalog_find(g.c[ADS_ADDRESS], slice_of("a")));
    CHECK(catalog_put(g.c[ADS_ADDRESS], "a", slice_of("y")));
    bool after = ads_request_is_same(&g.q, catalog_find(g.c[ADS_ADDRESS], slice_of("a")));
    /* Another entry in the slot of one that is gone is another entry. */
    CHECK(catalog_remove(g.c[ADS_ADDRESS], "a"));
    catalog_prune(g.c[ADS_ADDRESS], catalog_seq(g.c[ADS_ADDRESS]));
    CHECK(catalog_put(g.c[ADS_ADDRESS], "b", slice_of("x")));
    bool other = ads_request_is_same(&g.q, catalog_find(g.c[ADS_ADDRESS], slice_of("b")));
    rig_close(&g);
    CHECK(before);
    CHECK(!after);
    CHECK(!other);
}

TEST(what_is_no_request_is_refused)
{
    static const struct {
        const char *what;
        const char *bytes;
        size_t len;
    } table[] = {
        {"names before their type", "\x1a\x01x", 3},
        {"versions before their type", "\x2a\x02\x0a\x00", 4},
        {"a number for a text", "\x10\x01", 2},
        {"a NUL in a text", "\x12\x02x\x00", 4},
        {"cut off", "\x12\x05xx", 4},
        {"a node that does not decode", "\x0a\x02\x0a\x05", 4},
        {"a group", "\x0b", 1},
    };

    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        AUTO(strbuf) struct strbuf m = {0};
        struct rig g;
        rig_open(&g);
        strbuf_add(&m, table[i].bytes, table[i].len);
        feed(&g, &m, 1);
        int r = g.result;
        rig_close(&g);
        if (r >= 0) {
            test_fail(t, __FILE__, __LINE__, table[i].what);
        }
    }
}

TEST(a_client_cannot_make_us_remember_without_end)
{
    AUTO(strbuf) struct strbuf m = {0};
    AUTO(strbuf) struct strbuf name = {0};
    struct rig g;

    rig_open(&g);
    pb_put_text(&m, 2, XDS_TYPE_ADDRESS);
    for (unsigned i = 0; i < 20; i++) {
        strbuf_clear(&name);
        for (unsigned k = 0; k < (1u << 20) - 100; k++) {
            strbuf_putc(&name, (char)('a' + i));
        }
        pb_put_text(&m, 3, strbuf_text(&name));
    }
    feed(&g, &m, 65536);
    int r = g.result;
    rig_close(&g);
    CHECK_INT(r, -ERR_LIMIT);
}
