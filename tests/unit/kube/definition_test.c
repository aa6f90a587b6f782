/* SPDX-License-Identifier: Apache-2.0 */
/* A server's 404 for a kind that a definition makes: what is believed, and when. */
#include <string.h>

#include "codec/json.h"
#include "io/loop.h"
#include "kinds_server.h"
#include "kube/kube_watch.h"
#include "kube/resource.h"
#include "t.h"

static const struct kube_resource policies = {"security.istio.io", "v1", "authorizationpolicies",
                                              true};

struct world {
    struct loop *loop;
    struct kinds_server server;
    struct task task;
    struct kube_watch *w;
    int known; /* objects */
    unsigned syncs;
};

static void on_wake(struct task *t, unsigned why)
{
    (void)t;
    (void)why;
}

static void start(struct world *x, bool may_be_unserved)
{
    *x = (struct world){.loop = loop_new(NULL)};
    kinds_server_start(&x->server, x->loop, policies.plural);
    task_init(&x->task, x->loop, "test", on_wake);
    struct kube_watch_options o = {.resource = &policies,
                                   .by_definition = true,
                                   .may_be_unserved = may_be_unserved,
                                   .seed = 7};
    x->w = kube_watch_new(x->server.client, &o, &x->task);
}

static void stop(struct world *x)
{
    kube_watch_free(x->w);
    task_fini(&x->task);
    kinds_server_stop(&x->server);
    loop_free(x->loop);
}

static void turn(struct world *x)
{
    struct kube_event e = {0};

    while (kube_watch_next(x->w, &e) == 1) {
        x->syncs += e.type == KUBE_SYNCED;
        x->known += (e.type == KUBE_ADDED) - (e.type == KUBE_DELETED);
        json_unref(e.object);
    }
    (void)loop_turn(x->loop, 1);
    loop_advance(x->loop, 50);
}

#define AWAIT(x, condition)                                                                        \
    for (unsigned turns_ = 0; turns_ < 20000 && !(condition); turns_++) {                          \
        turn(x);                                                                                   \
    }                                                                                              \
    CHECK(condition)

TEST(a_kind_whose_definition_is_there_is_waited_for)
{
    struct world x;

    start(&x, true);
    AWAIT(&x, x.server.lists >= 4);
    CHECK(!kube_watch_is_synced(x.w));
    CHECK(!kube_watch_is_absent(x.w));
    CHECK_INT(x.syncs, 0);
    CHECK_INT(kube_watch_diag(x.w)->code, -ERR_UNAVAILABLE);
    CHECK(strstr(kube_watch_diag(x.w)->text, "authorizationpolicies.security.istio.io is there"));
    x.server.is_served = true;
    AWAIT(&x, kube_watch_is_synced(x.w));
    CHECK_INT(x.known, 1);
    CHECK_INT(kube_watch_diag(x.w)->code, 0);
    stop(&x);
}

TEST(a_kind_without_a_definition_is_an_empty_list_and_may_come_later)
{
    struct world x;

    start(&x, false);
    kinds_server_say(&x.server, 404, kinds_absent);
    AWAIT(&x, kube_watch_is_synced(x.w));
    CHECK(kube_watch_is_absent(x.w));
    CHECK_INT(x.syncs, 1);
    CHECK_INT(x.server.definitions, 1);
    CHECK_INT(kube_watch_diag(x.w)->code, 0);
    unsigned lists = x.server.lists;
    AWAIT(&x, x.server.lists >= lists + 4); /* asked again, and nothing new is said */
    CHECK_INT(x.syncs, 1);
    x.server.is_served = true;
    AWAIT(&x, x.known == 1 && x.syncs == 2);
    CHECK(!kube_watch_is_absent(x.w));
    stop(&x);
}

TEST(a_404_in_running_operation_deletes_nothing_until_the_definition_is_gone)
{
    struct world x;

    start(&x, false);
    x.server.is_served = true;
    AWAIT(&x, x.known == 1);
    x.server.is_served = false;
    AWAIT(&x, x.server.definitions >= 3);
    CHECK_INT(x.known, 1);
    CHECK(kube_watch_diag(x.w)->code < 0);
    kinds_server_say(&x.server, 503, "{}");
    unsigned asked = x.server.definitions;
    AWAIT(&x, x.server.definitions >= asked + 3);
    CHECK_INT(x.known, 1);
    kinds_server_say(&x.server, 404, kinds_absent);
    AWAIT(&x, kube_watch_is_absent(x.w) && x.syncs == 2);
    CHECK_INT(x.known, 0);
    x.server.is_served = true;
    AWAIT(&x, x.known == 1);
    stop(&x);
}

TEST(a_definition_that_may_not_be_read_leaves_the_word_to_the_group_twice)
{
    static const struct {
        unsigned status;
        const char *definition;
        const char *group;
    } rows[] = {
        {403, "{}", kinds_unnamed},
        {403, "{}", NULL},
        {404, "{}", NULL}, /* a path that the server does not have: no word of the definition */
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct world x;
        start(&x, false);
        kinds_server_say(&x.server, rows[i].status, rows[i].definition);
        x.server.group = rows[i].group;
        AWAIT(&x, x.server.groups == 1 && kube_watch_diag(x.w)->code < 0);
        CHECK(!kube_watch_is_synced(x.w));
        uint64_t first = loop_now_ms(x.loop);
        AWAIT(&x, kube_watch_is_synced(x.w));
        CHECK(loop_now_ms(x.loop) - first >= KUBE_WATCH_DOUBT_S * 1000 - 200);
        CHECK(kube_watch_is_absent(x.w));
        CHECK_INT(x.server.lists, 2);
        CHECK_INT(x.server.groups, 2);
        CHECK_INT(kube_watch_diag(x.w)->code, 0);
        stop(&x);
    }
}

TEST(words_of_the_group_count_only_when_nothing_else_came_between_them)
{
    struct world x;

    start(&x, false);
    kinds_server_say(&x.server, 403, "{}");
    x.server.group = NULL;
    AWAIT(&x, x.server.groups == 1 && kube_watch_diag(x.w)->code < 0);
    kinds_server_say(&x.server, 503, "{}");
    unsigned asked = x.server.definitions;
    AWAIT(&x, x.server.definitions >= asked + 2);
    kinds_server_say(&x.server, 403, "{}");
    AWAIT(&x, kube_watch_is_synced(x.w));
    CHECK_INT(x.server.groups, 3);
    stop(&x);
}

TEST(a_group_that_names_the_kind_is_believed)
{
    struct world x;

    start(&x, true);
    kinds_server_say(&x.server, 403, "{}");
    x.server.group = kinds_named;
    AWAIT(&x, x.server.groups >= 4);
    CHECK(!kube_watch_is_synced(x.w));
    x.server.group = NULL; /* once only: then it is there again */
    unsigned groups = x.server.groups;
    AWAIT(&x, x.server.groups == groups + 1);
    x.server.group = kinds_named;
    AWAIT(&x, x.server.groups == groups + 3);
    CHECK(!kube_watch_is_synced(x.w));
    x.server.is_served = true;
    AWAIT(&x, x.known == 1);
    stop(&x);
}

TEST(a_version_that_is_not_served_counts_as_none_only_where_that_is_allowed)
{
    struct world x;

    start(&x, false);
    kinds_server_say(&x.server, 200, kinds_unserved);
    AWAIT(&x, x.server.definitions >= 3);
    CHECK(!kube_watch_is_synced(x.w));
    CHECK(strstr(kube_watch_diag(x.w)->text, "does not serve version v1"));
    stop(&x);
    start(&x, true);
    kinds_server_say(&x.server, 200, kinds_unserved);
    AWAIT(&x, kube_watch_is_synced(x.w));
    CHECK(kube_watch_is_absent(x.w));
    stop(&x);
}
