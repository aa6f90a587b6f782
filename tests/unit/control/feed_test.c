/* SPDX-License-Identifier: Apache-2.0 */
/* A cluster counts as known only when what is missing is known to be missing. */
#include "control/feed.h"

#include <string.h>

#include "await.h"
#include "kinds_server.h"
#include "xds/ads_server.h"

struct world {
    struct loop *loop;
    struct kinds_server server;
    struct mesh mesh;
    struct catalog *catalogs[ADS_TYPES];
    struct index *index;
    struct ads_server *ads;
    struct task task;
    struct feed *feed;
};

static void on_wake(struct task *t, unsigned why)
{
    (void)t;
    (void)why;
}

static void start(struct world *x, const char *kind)
{
    const struct ads_server_options ads = {.arg = NULL};

    *x = (struct world){.loop = loop_new(NULL)};
    kinds_server_start(&x->server, x->loop, kind);
    x->mesh = (struct mesh){.cluster_id = "Kubernetes",
                            .trust_domain = "cluster.local",
                            .root_ns = "istio-system",
                            .system_ns = "istio-system",
                            .domain = "cluster.local",
                            .revision = "default"};
    for (unsigned t = 0; t < ADS_TYPES; t++) {
        x->catalogs[t] = catalog_new(ads_type_urls[t], t != ADS_AUTHORIZATION);
    }
    x->index = index_new(&x->mesh, x->catalogs);
    x->ads = ads_server_new(x->loop, x->catalogs, &ads);
    task_init(&x->task, x->loop, "test", on_wake);
    x->feed = feed_new(x->loop, x->server.client, x->index, x->ads, &x->task);
}

static void stop(struct world *x)
{
    feed_free(x->feed);
    task_fini(&x->task);
    ads_server_free(x->ads);
    index_free(x->index);
    for (unsigned t = 0; t < ADS_TYPES; t++) {
        catalog_free(x->catalogs[t]);
    }
    loop_end_orphans(x->loop);
    kinds_server_stop(&x->server);
    loop_free(x->loop);
}

static bool waits_only_for(const struct world *x, enum index_kind kind)
{
    bool is_so = feed_waits_for(x->feed, kind);

    for (unsigned k = 0; k < INDEX_KINDS; k++) {
        is_so = is_so && (k == kind || !feed_waits_for(x->feed, (enum index_kind)k));
    }
    return is_so;
}

TEST(no_cluster_is_known_while_a_kind_of_policy_is_only_not_served_yet)
{
    struct world x;
    AUTO(strbuf) struct strbuf trouble = {0};

    start(&x, "authorizationpolicies");
    AWAIT(x.loop, x.server.lists >= 3 && waits_only_for(&x, INDEX_AUTHORIZATION));
    CHECK(!feed_is_synced(x.feed));
    CHECK_STR(feed_kind(INDEX_AUTHORIZATION), "authorizationpolicies");
    feed_write_trouble(x.feed, &trouble);
    CHECK(strstr(strbuf_text(&trouble),
                 "authorizationpolicies: the definition authorizationpolicies.security.istio.io"));
    x.server.is_served = true;
    AWAIT(x.loop, feed_is_synced(x.feed));
    CHECK_INT(index_count(x.index, INDEX_AUTHORIZATION), 1);
    CHECK(!feed_waits_for(x.feed, INDEX_AUTHORIZATION));
    stop(&x);
}

TEST(a_kind_without_a_definition_holds_up_nobody_and_is_taken_in_when_it_comes)
{
    struct world x;

    start(&x, "authorizationpolicies");
    kinds_server_say(&x.server, 404, kinds_absent);
    AWAIT(x.loop, feed_is_synced(x.feed));
    CHECK_INT(index_count(x.index, INDEX_AUTHORIZATION), 0);
    x.server.is_served = true;
    AWAIT(x.loop, index_count(x.index, INDEX_AUTHORIZATION) == 1);
    x.server.is_served = false; /* and goes again: what it says stays, until that is certain */
    kinds_server_say(&x.server, 200, kinds_there);
    unsigned asked = x.server.definitions;
    AWAIT(x.loop, x.server.definitions >= asked + 3);
    CHECK_INT(index_count(x.index, INDEX_AUTHORIZATION), 1);
    kinds_server_say(&x.server, 404, kinds_absent);
    AWAIT(x.loop, index_count(x.index, INDEX_AUTHORIZATION) == 0);
    stop(&x);
}

TEST(a_404_for_what_every_server_has_is_no_answer)
{
    struct world x;

    start(&x, "/pods");
    kinds_server_say(&x.server, 404, kinds_absent);
    AWAIT(x.loop, x.server.lists >= 3 && waits_only_for(&x, INDEX_POD));
    CHECK(!feed_is_synced(x.feed));
    CHECK_INT(x.server.definitions, 0);
    x.server.is_served = true;
    AWAIT(x.loop, feed_is_synced(x.feed));
    stop(&x);
}
