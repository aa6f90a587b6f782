/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "apiserver/store.h"
#include "base/mem.h"
#include "base/rand.h"
#include "codec/json.h"
#include "http/http_server.h"
#include "io/loop.h"
#include "io/sock.h"
#include "kube/kube_watch.h"
#include "rig.h"
#include "t.h"

enum { AWAIT_TURNS = 6000 }; /* of 5 ms */

struct follower { /* what an owner would believe the world to be */
    struct task task;
    struct rig *g;
    struct kube_watch *w;
    struct json *world; /* name -> value */
    unsigned events;
    unsigned syncs;
    unsigned impossible; /* ADDED of the known, MODIFIED or DELETED of the unknown */
};

static void on_wake(struct task *t, unsigned why)
{
    (void)t;
    (void)why;
}

static void follow(struct follower *f, struct rig *g, const char *selector)
{
    struct kube_watch_options o = {
        .resource = &rig_config_maps, .ns = "n", .label_selector = selector, .seed = 7};

    *f = (struct follower){.g = g, .world = json_new_object()};
    task_init(&f->task, g->loop, "test", on_wake);
    f->w = kube_watch_new(g->client, &o, &f->task);
}

static void unfollow(struct follower *f)
{
    kube_watch_free(f->w);
    task_fini(&f->task);
    json_unref(f->world);
}

static void believe(struct follower *f, const struct kube_event *e)
{
    const char *name = json_str_at(e->object, "metadata.name", "");
    bool known = json_get(f->world, name) != NULL;

    f->events++;
    if (e->type == KUBE_SYNCED) {
        f->syncs++;
    } else if (e->type == KUBE_DELETED) {
        f->impossible += !known;
        json_remove(f->world, name);
    } else {
        f->impossible += known != (e->type == KUBE_MODIFIED);
        json_set_str(f->world, name, json_str_at(e->object, "data.v", "?"));
    }
}

/* A turn of the loop, before which the owner takes the events there are. True: something happened. */
static bool take_turn(struct follower *f)
{
    struct store *s = f->g->store;
    struct kube_event e = {0};
    bool busy = false;

    if (store_durable(s) < store_rv(s)) {
        store_set_durable(s, store_rv(s));
    }
    while (kube_watch_next(f->w, &e) == 1) {
        believe(f, &e);
        json_unref(e.object);
        busy = true;
    }
    return loop_turn(f->g->loop, 5) > 0 || busy;
}

static void take_turns(struct follower *f, unsigned turns)
{
    for (unsigned i = 0; i < turns; i++) {
        (void)take_turn(f);
    }
}

/* Until nothing has happened for a while. */
static void settle(struct follower *f, int quiet_turns)
{
    for (int quiet = 0; quiet < quiet_turns;) {
        quiet = take_turn(f) ? 0 : quiet + 1;
    }
}

/* What has to come takes the time it takes; then until nothing more happens. */
static void await_events(struct follower *f, unsigned count)
{
    for (unsigned i = 0; i < AWAIT_TURNS && f->events < count; i++) {
        (void)take_turn(f);
    }
    settle(f, 40);
}

/* Timers fire without being waited for. */
static void settle_after(struct follower *f, uint64_t ms)
{
    for (int i = 0; i < 8; i++) {
        settle(f, 4);
        loop_advance(f->g->loop, ms / 8);
    }
    settle(f, 30);
}

static char *text_of(const struct json *j)
{
    struct strbuf text = {0};

    json_print(j, JSON_PRINT_SORTED, &text);
    return strbuf_take(&text);
}

static void await_world(struct follower *f, const char *want)
{
    bool same = false;

    for (unsigned i = 0; i < AWAIT_TURNS && !same; i++) {
        (void)take_turn(f);
        AUTO(text) char *seen = text_of(f->world);
        same = strcmp(seen, want) == 0;
    }
    settle(f, 10);
}

TEST(what_is_there_comes_first_then_what_changes)
{
    struct rig g;
    struct follower f;

    rig_start(&g);
    rig_put(&g, "a", "1");
    rig_put(&g, "b", "1");
    follow(&f, &g, NULL);
    await_events(&f, 3);
    unsigned first = f.events;
    bool synced = kube_watch_is_synced(f.w);
    rig_put(&g, "a", "2");
    rig_put(&g, "c", "1");
    rig_drop(&g, "b");
    await_events(&f, first + 3);
    unsigned then = f.events - first;
    AUTO(text) char *world = text_of(f.world);
    unsigned impossible = f.impossible;
    unfollow(&f);
    rig_stop(&g);
    CHECK_INT(first, 3); /* two and SYNCED */
    CHECK(synced);
    CHECK_INT(then, 3);
    CHECK_STR(world, "{\"a\":\"2\",\"c\":\"1\"}");
    CHECK_INT(impossible, 0);
}

TEST(long_lists_come_in_pages)
{
    struct rig g;
    struct follower f;
    char name[16];

    rig_start(&g);
    for (int i = 0; i < 2 * KUBE_WATCH_PAGE + 3; i++) {
        snprintf(name, sizeof(name), "m%05d", i);
        rig_put(&g, name, "x");
    }
    follow(&f, &g, NULL);
    await_events(&f, 2 * KUBE_WATCH_PAGE + 4);
    size_t n = json_count(f.world);
    unsigned syncs = f.syncs;
    unfollow(&f);
    rig_stop(&g);
    CHECK_INT(n, 2 * KUBE_WATCH_PAGE + 3);
    CHECK_INT(syncs, 1);
}

TEST(a_server_that_went_away_deletes_nothing_and_is_followed_again)
{
    struct rig g;
    struct follower f;

    rig_start(&g);
    rig_put(&g, "a", "1");
    rig_put(&g, "b", "1");
    follow(&f, &g, NULL);
    await_events(&f, 3);
    rig_stop_serving(&g);
    settle_after(&f, 5000);
    size_t kept = json_count(f.world);
    bool told = kube_watch_diag(f.w)->code < 0;
    rig_drop(&g, "a");
    rig_put(&g, "b", "2");
    rig_serve(&g);
    settle_after(&f, 2 * KUBE_WATCH_BACKOFF_MAX_MS);
    await_world(&f, "{\"b\":\"2\"}");
    AUTO(text) char *world = text_of(f.world);
    bool well = kube_watch_diag(f.w)->code == 0;
    unsigned impossible = f.impossible;
    unfollow(&f);
    rig_stop(&g);
    CHECK_INT(kept, 2);
    CHECK(told);
    CHECK_STR(world, "{\"b\":\"2\"}");
    CHECK(well);
    CHECK_INT(impossible, 0);
}

TEST(a_version_that_the_server_has_forgotten_leads_to_a_new_list)
{
    struct rig g;
    struct follower f;

    rig_start(&g);
    rig_put(&g, "gone", "1");
    rig_put(&g, "stays", "1");
    follow(&f, &g, NULL);
    await_events(&f, 3);
    rig_stop_serving(&g);
    rig_drop(&g, "gone");
    for (int i = 0; i < STORE_WINDOW + 10; i++) {
        rig_put(&g, "busy", i % 2 ? "x" : "y");
    }
    rig_serve(&g);
    settle_after(&f, 2 * KUBE_WATCH_BACKOFF_MAX_MS);
    await_world(&f, "{\"busy\":\"x\",\"stays\":\"1\"}");
    AUTO(text) char *world = text_of(f.world);
    unsigned syncs = f.syncs;
    unsigned impossible = f.impossible;
    unfollow(&f);
    rig_stop(&g);
    CHECK_STR(world, "{\"busy\":\"x\",\"stays\":\"1\"}");
    CHECK_INT(syncs, 2);
    CHECK_INT(impossible, 0);
}

/* A server that knows no version, not even of the list it has just given. */
struct forgetful {
    struct task task;
    struct loop *loop;
    struct http_server *server;
    unsigned lists;
};

static void forget_all(struct task *t, unsigned why)
{
    static const char list[] = "{\"kind\":\"ConfigMapList\",\"apiVersion\":\"v1\","
                               "\"metadata\":{\"resourceVersion\":\"5\"},\"items\":[]}";
    struct forgetful *f = container_of(t, struct forgetful, task);
    struct exchange *x = NULL;

    (void)why;
    while (http_server_next(f->server, &x) > 0) {
        struct slice path = message_get(&x->in, MESSAGE_PATH);
        bool watched = memmem(path.p, path.len, "watch=true", 10) != NULL;
        f->lists += !watched;
        exchange_reply_text(f->loop, x, watched ? 410 : 200, "application/json",
                            watched ? "{}" : list);
    }
}

static bool serve_forgetfully(struct forgetful *f, struct rig *g)
{
    struct http_server_options o = {.protocol = HTTP_ONLY_H1};
    struct endpoint at = {.port = (uint16_t)g->port};

    *f = (struct forgetful){.loop = g->loop};
    task_init(&f->task, g->loop, "forgetful", forget_all);
    f->server = http_server_new(g->loop, &o, &f->task);
    int fd = sock_open(IP_V4, SOCK_TYPE_STREAM, NULL);
    return ip_parse(&at.ip, "127.0.0.1", 9) == 0 && sock_set_reuse_address(fd, NULL) == 0 &&
           sock_bind(fd, &at, NULL) == 0 && sock_listen(fd, 8, NULL) == 0 &&
           http_server_listen(f->server, fd, NULL) == 0;
}

TEST(a_server_that_forgets_at_once_is_not_asked_for_lists_all_the_time)
{
    struct rig g;
    struct forgetful server;
    struct follower f;

    rig_start(&g);
    rig_stop_serving(&g);
    CHECK(serve_forgetfully(&server, &g));
    follow(&f, &g, NULL);
    for (unsigned i = 0; i < 4000 && kube_watch_diag(f.w)->code != -ERR_VERSION; i++) {
        take_turns(&f, 1);
    }
    int said = kube_watch_diag(f.w)->code;
    take_turns(&f, 200);
    unsigned lists = server.lists;
    loop_advance(g.loop, KUBE_WATCH_BACKOFF_MAX_MS);
    for (unsigned i = 0; i < 40 && server.lists == lists; i++) {
        take_turns(&f, 50);
    }
    unsigned later = server.lists;
    unfollow(&f);
    http_server_free(server.server);
    task_fini(&server.task);
    rig_stop(&g);
    CHECK(lists >= 2 && lists < 10);
    CHECK_INT(said, -ERR_VERSION);
    CHECK(later > lists);
}

TEST(an_owner_who_does_not_ask_holds_the_server_back_and_misses_nothing)
{
    struct rig g;
    struct follower f;

    rig_start(&g);
    follow(&f, &g, NULL);
    await_events(&f, 1);
    for (int i = 0; i < 3000; i++) {
        rig_put(&g, "one", i % 2 ? "odd" : "even");
        if (i % 100 == 0) {
            loop_turn(g.loop, 0); /* without taking events */
        }
    }
    await_events(&f, 3001);
    unsigned events = f.events;
    AUTO(text) char *world = text_of(f.world);
    unfollow(&f);
    rig_stop(&g);
    CHECK_STR(world, "{\"one\":\"odd\"}");
    CHECK_INT(events, 3001);
}

TEST(random_changes_with_the_server_coming_and_going_end_in_the_same_world)
{
    struct rig g;
    struct follower f;
    struct rand_seq r;
    AUTO(json) struct json *truth = json_new_object();
    char name[16];
    char value[32];

    rand_seq_init(&r, 42);
    rig_start(&g);
    follow(&f, &g, NULL);
    for (unsigned round = 0; round < 12; round++) {
        for (int i = 0; i < 40; i++) {
            snprintf(name, sizeof(name), "k%u", (unsigned)rand_seq_below(&r, 9));
            snprintf(value, sizeof(value), "%u-%d", round, i);
            if (rand_seq_below(&r, 3) == 0) {
                rig_drop(&g, name);
                json_remove(truth, name);
            } else {
                rig_put(&g, name, value);
                json_set_str(truth, name, value);
            }
        }
        if (round % 3 == 1) {
            rig_stop_serving(&g);
            take_turns(&f, 5);
            rig_serve(&g);
        }
        take_turns(&f, 3);
    }
    settle_after(&f, 2 * KUBE_WATCH_BACKOFF_MAX_MS);
    AUTO(text) char *want = text_of(truth);
    await_world(&f, want);
    AUTO(text) char *world = text_of(f.world);
    unsigned impossible = f.impossible;
    unfollow(&f);
    rig_stop(&g);
    CHECK_STR(world, want);
    CHECK_INT(impossible, 0);
}
