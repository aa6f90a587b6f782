/* SPDX-License-Identifier: Apache-2.0 */
#include "model/identity.h"

#include <string.h>

#include "base/mem.h"
#include "model/intern.h"
#include "t.h"

TEST(spiffe_uris_follow_their_grammar)
{
    static const struct {
        const char *uri;
        const char *td, *ns, *sa; /* NULL: refused */
    } rows[] = {
        {"spiffe://cluster.local/ns/shop/sa/web", "cluster.local", "shop", "web"},
        {"spiffe://td/ns//sa/", "td", "", ""},
        {"spiffe:///ns/a/sa/b", "", "a", "b"},
        {"spiffe://td/ns/a/sa/b/", NULL, NULL, NULL},
        {"spiffe://td/ns/a/sa", NULL, NULL, NULL},
        {"spiffe://td/ns/a/sb/b", NULL, NULL, NULL},
        {"spiffe://td/nt/a/sa/b", NULL, NULL, NULL},
        {"spiffe://td/ns/a/b/sa/c", NULL, NULL, NULL},
        {"spiffe:/td/ns/a/sa/b", NULL, NULL, NULL},
        {"SPIFFE://td/ns/a/sa/b", NULL, NULL, NULL},
        {"https://td/ns/a/sa/b", NULL, NULL, NULL},
        {"", NULL, NULL, NULL},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        AUTO(identity) const struct identity *id = NULL;
        int r = identity_parse(&id, rows[i].uri, strlen(rows[i].uri), NULL);
        CHECK_INT(r, rows[i].td ? 0 : -ERR_SYNTAX);
        if (r == 0) {
            CHECK_STR(id->trust_domain, rows[i].td);
            CHECK_STR(id->ns, rows[i].ns);
            CHECK_STR(id->service_account, rows[i].sa);
            CHECK_STR(id->uri, rows[i].uri);
            CHECK_STR(id->principal, rows[i].uri + 9);
        }
    }
}

TEST(an_identity_with_a_nul_or_beyond_its_limit_is_refused)
{
    const struct identity *id = NULL;
    static char big[IDENTITY_URI_MAX + 2];

    CHECK_INT(identity_parse(&id, "spiffe://td/ns/a/sa/b\0c", 23, NULL), -ERR_SYNTAX);
    memset(big, 'x', sizeof(big) - 1);
    CHECK_INT(identity_parse(&id, big, sizeof(big) - 1, NULL), -ERR_TOO_LARGE);
    CHECK(!id);
}

TEST(identities_are_equal_by_their_three_parts)
{
    AUTO(identity) const struct identity *a = identity_new("td", "n", "s");
    AUTO(identity) const struct identity *b = identity_new("td", "n", "s");
    AUTO(identity) const struct identity *odd = identity_new("td/ns/n", "", "s");
    AUTO(identity) const struct identity *c = identity_new("td", "n/sa", "s");
    AUTO(identity) const struct identity *d = identity_new("td", "n", "sa/s");

    CHECK(identity_equal(a, b) && identity_hash(a) == identity_hash(b));
    CHECK(!identity_equal(a, odd) && !identity_equal(NULL, NULL) && !identity_equal(a, NULL));
    CHECK(!identity_equal(c, d)); /* one text may be cut in two ways */
}

TEST(a_pool_shares_and_forgets)
{
    AUTO(intern) struct intern *pool = intern_new();
    const char *a = intern_text(pool, "node-1");
    const char *b = intern_text(pool, "node-1");
    const struct identity *x = intern_identity(pool, "td", "n", "s");
    const struct identity *y = intern_identity(pool, "td", "n", "s");

    const char *empty = intern_text(pool, NULL);

    CHECK(a == b && x == y);
    CHECK_STR(empty, "");
    CHECK_INT(intern_count(pool), 3);
    text_unref(a);
    text_unref(empty);
    identity_unref(x);
    intern_sweep(pool);
    CHECK_INT(intern_count(pool), 2);
    text_unref(b);
    identity_unref(y);
    intern_sweep(pool);
    CHECK_INT(intern_count(pool), 0);
}

TEST(what_a_pool_gave_out_outlives_it)
{
    struct intern *pool = intern_new();
    const char *a = intern_text(pool, "x");
    const struct identity *id = intern_identity(pool, "td", "n", "s");

    intern_free(pool);
    CHECK_STR(a, "x");
    CHECK_STR(id->uri, "spiffe://td/ns/n/sa/s");
    text_unref(a);
    identity_unref(id);
}

TEST(a_pool_does_not_grow_with_what_is_gone)
{
    AUTO(intern) struct intern *pool = intern_new();

    for (int i = 0; i < 50000; i++) {
        char text[16];
        (void)snprintf(text, sizeof(text), "n%d", i);
        text_unref(intern_text(pool, text));
    }
    CHECK(intern_count(pool) <= 1024);
}
