/* SPDX-License-Identifier: Apache-2.0 */
#include "xds/ads_server.h"

#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "xds/ads_stream_int.h"

/* ---- publishing */

/* What every client has heard of needs no tombstones. */
static void prune(struct ads_server *s)
{
    for (unsigned t = 0; t < ADS_TYPES; t++) {
        uint64_t heard = catalog_seq(s->catalogs[t]);
        list_for_each (n, &s->streams) {
            const struct ads_watch *w = &container_of(n, struct ads_stream, in_server)->watch[t];
            if (w->mode != WATCH_NONE && w->heard < heard) {
                heard = w->heard;
            }
        }
        if (t == ADS_ADDRESS && s->lookup) {
            lookup_follow(s->lookup);
        }
        catalog_prune(s->catalogs[t], heard);
    }
}

static void wake_streams(struct ads_server *s)
{
    list_for_each (n, &s->streams) {
        task_wake(&container_of(n, struct ads_stream, in_server)->task, WAKE_CONFIG);
    }
}

static void release(struct ads_server *s)
{
    timer_clear(&s->hold);
    s->is_holding = false;
    memcpy(s->published, s->ahead, sizeof(s->published));
    wake_streams(s);
}

/* Has taken in, or refused, all that there is for it. */
static bool is_ahead(const struct ads_server *s, const struct ads_stream *c)
{
    for (unsigned t = 0; t < ADS_TYPES; t++) {
        const struct ads_watch *w = &c->watch[t];
        if (w->mode != WATCH_NONE && (w->heard < s->ahead[t] || !w->is_answered)) {
            return false;
        }
    }
    return true;
}

static bool are_ahead(const struct ads_server *s)
{
    list_for_each (n, &s->streams) {
        const struct ads_stream *c = container_of(n, struct ads_stream, in_server);
        if (c->gateway && !is_ahead(s, c)) {
            return false;
        }
    }
    return true;
}

static void publish(struct ads_server *s)
{
    bool is_theirs = false;

    s->dirty_since_ms = 0;
    s->pushes++;
    prune(s);
    for (unsigned t = 0; t < ADS_TYPES; t++) {
        uint64_t seq = catalog_seq(s->catalogs[t]);
        is_theirs |= t >= ADS_L7_POLICY && seq != s->ahead[t];
        s->ahead[t] = seq;
    }
    if (!s->is_holding && is_theirs && !are_ahead(s)) {
        s->is_holding = true;
        timer_set(&s->hold, &s->task, ADS_AHEAD_MS);
    } else if (!s->is_holding) {
        release(s);
    }
    wake_streams(s);
}

/* Something is new since the last look. */
static bool notice(struct ads_server *s)
{
    bool any = false;

    for (unsigned t = 0; t < ADS_TYPES; t++) {
        uint64_t seq = catalog_seq(s->catalogs[t]);
        any |= seq != s->noticed[t];
        s->noticed[t] = seq;
    }
    return any;
}

void ads_server_changed(struct ads_server *s)
{
    if (!notice(s)) {
        return;
    }
    uint64_t now = loop_now_ms(s->loop);
    uint64_t wait = s->o.quiet_ms;

    if (s->dirty_since_ms == 0) {
        s->dirty_since_ms = now > 0 ? now : 1;
    }
    uint64_t due = s->dirty_since_ms + s->o.most_ms;
    if (now + wait > due) {
        wait = due > now ? due - now : 0;
    }
    timer_set(&s->quiet, &s->task, wait);
}

/* ---- the buffer that all responses share */

bool ads_server_may_build(struct ads_server *s, struct ads_stream *c)
{
    /* Who does not read keeps its response here for long: half of the room is for node proxies alone. */
    if (s->stats.buffered < (c->is_proxy ? s->o.buffer_bytes : s->o.buffer_bytes / 2)) {
        list_remove(&c->waiting);
        return true;
    }
    if (list_is_empty(&c->waiting)) {
        list_append(&s->waiting, &c->waiting);
    }
    return false;
}

void ads_server_release(struct ads_server *s, size_t bytes)
{
    struct list *n;

    s->stats.buffered -= bytes;
    while (bytes > 0 && (n = list_take_first(&s->waiting))) {
        task_wake(&container_of(n, struct ads_stream, waiting)->task, WAKE_IO);
    }
}

struct lookup_table *ads_server_lookup(struct ads_server *s)
{
    if (!s->lookup) {
        s->lookup = lookup_table_new(s->catalogs[ADS_ADDRESS]);
    }
    lookup_follow(s->lookup);
    return s->lookup;
}

/* ---- life */

static void run(struct task *t, unsigned why)
{
    struct ads_server *s = container_of(t, struct ads_server, task);
    struct list *n;

    while ((n = list_take_first(&s->ended))) {
        ads_stream_free(container_of(n, struct ads_stream, in_server));
        s->stats.streams--;
    }
    if ((why & WAKE_TIMER) && timer_is_due(&s->quiet)) {
        timer_clear(&s->quiet);
        publish(s);
    }
    if (s->is_holding && (timer_is_due(&s->hold) || are_ahead(s))) {
        release(s);
    }
}

static void fill_defaults(struct ads_server_options *o)
{
    o->streams_max = o->streams_max > 0 ? o->streams_max : ADS_STREAMS_MAX;
    o->quiet_ms = o->quiet_ms > 0 ? o->quiet_ms : ADS_QUIET_MS;
    o->most_ms = o->most_ms > 0 ? o->most_ms : ADS_MOST_MS;
    o->buffer_bytes = o->buffer_bytes > 0 ? o->buffer_bytes : ADS_BUFFER_BYTES;
}

struct ads_server *ads_server_new(struct loop *l, struct catalog *const catalogs[ADS_TYPES],
                                  const struct ads_server_options *options)
{
    struct ads_server *s = mem_new(struct ads_server);

    s->loop = l;
    s->o = options ? *options : (struct ads_server_options){.streams_max = 0};
    fill_defaults(&s->o);
    for (unsigned t = 0; t < ADS_TYPES; t++) {
        s->catalogs[t] = catalogs[t];
        s->readable[t] = catalogs[t];
        s->published[t] = catalog_seq(catalogs[t]);
        s->ahead[t] = s->published[t];
        s->noticed[t] = s->published[t];
    }
    list_init(&s->streams);
    list_init(&s->ended);
    list_init(&s->waiting);
    clock_format(clock_wall_ns(), s->started, sizeof(s->started));
    task_init(&s->task, l, "discovery", run);
    return s;
}

void ads_server_free(struct ads_server *s)
{
    if (!s) {
        return;
    }
    list_for_each_safe (n, &s->streams) {
        ads_stream_free(container_of(n, struct ads_stream, in_server));
    }
    list_for_each_safe (n, &s->ended) {
        ads_stream_free(container_of(n, struct ads_stream, in_server));
    }
    lookup_table_free(s->lookup);
    timer_clear(&s->quiet);
    timer_clear(&s->hold);
    task_fini(&s->task);
    mem_free(s);
}

/* A namespace's clients have a share; nobody has looked at who has no namespace. */
static bool has_its_share(const struct ads_server *s, const struct ads_caller *caller)
{
    unsigned count = 0;

    if (caller->is_proxy || !caller->ns) {
        return false;
    }
    list_for_each (n, &s->streams) {
        const struct ads_stream *c = container_of(n, struct ads_stream, in_server);
        count += !c->is_proxy && c->caller_ns && strcmp(c->caller_ns, caller->ns) == 0;
    }
    return count >= ADS_STREAMS_SPACE_MAX;
}

void ads_server_add(struct ads_server *s, struct grpc_call *take_call,
                    const struct ads_caller *caller)
{
    if (s->stats.streams >= s->o.streams_max || has_its_share(s, caller)) {
        s->stats.refused++;
        grpc_call_refuse(take_call, GRPC_RESOURCE_EXHAUSTED, "too many streams");
        return;
    }
    s->stats.opened++;
    s->stats.streams++;
    (void)ads_stream_new(s, take_call, caller); /* it stands in the list of streams */
}

uint64_t ads_server_published(const struct ads_server *s)
{
    return s->published[ADS_ADDRESS];
}

/* Of a stream that begins, addresses are in force with the policies (xds/ads_client.h). */
uint64_t ads_server_acknowledged(const struct ads_server *s)
{
    uint64_t all = s->published[ADS_ADDRESS];

    list_for_each (n, &s->streams) {
        const struct ads_stream *c = container_of(n, struct ads_stream, in_server);
        const struct ads_watch *w = &c->watch[ADS_ADDRESS];
        const struct ads_watch *policies = &c->watch[ADS_AUTHORIZATION];
        bool begins =
            policies->mode != WATCH_NONE && !policies->is_answered && policies->answered == 0;
        uint64_t its = begins ? 0 : w->is_answered ? w->heard : w->answered;
        if (!c->gateway && w->mode != WATCH_NONE && its < all) {
            all = its;
        }
    }
    return all;
}

/* ahead, which is_ahead looks at, is what was last published; what has changed since counts too. */
static bool is_current(const struct ads_server *s, const struct ads_stream *c)
{
    for (unsigned t = 0; t < ADS_TYPES; t++) {
        if (c->watch[t].mode != WATCH_NONE && catalog_seq(s->catalogs[t]) != s->ahead[t]) {
            return false;
        }
    }
    return is_ahead(s, c);
}

void ads_server_each_replica(const struct ads_server *s,
                             void (*each)(void *to, const struct ads_replica *r), void *to)
{
    list_for_each (n, &s->streams) {
        const struct ads_stream *c = container_of(n, struct ads_stream, in_server);
        AUTO(strbuf) struct strbuf gateway = {0};
        if (c->gateway) {
            strbuf_add(&gateway, c->gateway, strlen(c->gateway) - 1);
            struct ads_replica r = {strbuf_text(&gateway), c->node.id, is_current(s, c)};
            each(to, &r);
        }
    }
}

const struct ads_server_stats *ads_server_stats(const struct ads_server *s)
{
    return &s->stats;
}
