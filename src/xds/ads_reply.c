/* SPDX-License-Identifier: Apache-2.0 */
/* What a client is told: the contents of responses (contract 5.4). */
#include <stdio.h>
#include <string.h>

#include "base/num.h"
#include "base/rand.h"
#include "codec/pbwalk.h"
#include "codec/pbwrite.h"
#include "model/policy.h"
#include "xds/ads_stream_int.h"

enum {
    RESPONSE_SYSTEM_VERSION = 1,
    RESPONSE_RESOURCES = 2,
    RESPONSE_TYPE_URL = 4,
    RESPONSE_NONCE = 5,
    RESPONSE_REMOVED = 6,
    RESOURCE_ALIASES = 4
};

struct reply {
    struct ads_stream *stream;
    struct ads_watch *watch;
    const struct catalog *catalog;
    struct strbuf *out;
    struct strbuf removed; /* as fields of the response */
    uint64_t resources;
    uint64_t removals;
};

static void begin(struct reply *r, struct ads_stream *c, enum ads_type type)
{
    struct ads_server *s = c->server;
    char version[64];

    *r = (struct reply){.stream = c,
                        .watch = type == ADS_UNKNOWN ? NULL : &c->watch[type],
                        .catalog = type == ADS_UNKNOWN ? NULL : s->catalogs[type],
                        .out = &c->out};
    strbuf_clear(r->out);
    r->out->limit = ADS_RESPONSE_BYTES_MAX;
    (void)snprintf(version, sizeof(version), "%s/%llu", s->started, (unsigned long long)s->pushes);
    pb_put_text(r->out, RESPONSE_SYSTEM_VERSION, version);
}

static void finish(struct reply *r, const char *type_url, char nonce[static ADS_NONCE_TEXT])
{
    (void)snprintf(nonce, ADS_NONCE_TEXT, "%llu-%016llx",
                   (unsigned long long)r->stream->server->pushes, (unsigned long long)rand_u64());
    pb_put_text(r->out, RESPONSE_TYPE_URL, type_url);
    pb_put_text(r->out, RESPONSE_NONCE, nonce);
    strbuf_add(r->out, r->removed.p, r->removed.len);
    strbuf_fini(&r->removed);
    if (r->watch) {
        r->watch->is_answered = false;
    }
    r->stream->is_sending = true;
}

static void put_alias(void *arg, enum lookup_kind kind, struct slice key)
{
    struct strbuf *aliases = arg;

    if (kind == LOOKUP_WORKLOAD_IP || kind == LOOKUP_SERVICE_IP) {
        pb_put_element(aliases, RESOURCE_ALIASES, key.p, key.len);
    }
}

/* The encoded resource is copied as it is; only who asks by name is told the other names too. */
static void put_resource(struct reply *r, const struct catalog_entry *e)
{
    AUTO(strbuf) struct strbuf aliases = {0};

    if (r->watch->mode == WATCH_NAMES) {
        lookup_keys(catalog_value(e), put_alias, &aliases);
    }
    size_t at = pb_open(r->out, RESPONSE_RESOURCES);
    strbuf_add(r->out, e->body, e->body_len);
    strbuf_add(r->out, aliases.p, aliases.len);
    pb_close(r->out, at);
    r->resources++;
}

static void put_removed(struct reply *r, struct slice name)
{
    pb_put_element(&r->removed, RESPONSE_REMOVED, name.p, name.len);
    r->removals++;
}

/* Another waypoint's resources are nobody else's business. */
static bool is_for(const struct ads_stream *c, enum ads_type type, const char *name)
{
    bool is_shared = type == ADS_ADDRESS || type == ADS_AUTHORIZATION;

    return is_shared || (c->gateway && slice_has_prefix(slice_of(name), c->gateway));
}

static bool is_live(const struct catalog_entry *e)
{
    return e && !catalog_is_gone(e);
}

/* ---- everything */

static void put_absent(struct reply *r, const struct name_set *names)
{
    name_set_for_each(n, names)
    {
        const struct name_item *i = container_of(n, struct name_item, by_name);
        struct slice name = {i->name, i->len};
        if (!slice_is(name, "*") && !is_live(catalog_find(r->catalog, name))) {
            put_removed(r, name);
        }
    }
}

static void answer_all(struct reply *r, const struct ads_request *q)
{
    for (const struct catalog_entry *e = catalog_after(r->catalog, 0); e;
         e = catalog_next(r->catalog, e)) {
        if (is_live(e) && is_for(r->stream, q->type, e->name) && !ads_request_is_same(q, e)) {
            put_resource(r, e);
        }
    }
    put_absent(r, &q->gone);
    put_absent(r, &q->subscribe);
    r->watch->heard = catalog_seq(r->catalog);
}

/* ---- names */

/* From now on e's name is the client's business. True: it was not before. A set that is full forgets
 * nothing, but learns nothing new: the client then hears of less unasked. */
static bool track(struct reply *r, struct slice name)
{
    return name_set_add(&r->watch->names, name, ADS_NAMES_BYTES_MAX) == 1;
}

static void put_tracked(struct reply *r, const char *name)
{
    const struct catalog_entry *e = catalog_find(r->catalog, slice_of(name));

    if (is_live(e) && track(r, slice_of(name))) {
        put_resource(r, e);
    }
}

static void put_found(struct reply *r, enum lookup_kind kind, struct slice key)
{
    struct lookup_cursor c = {.at = NULL};
    const struct lookup_table *l = ads_server_lookup(r->stream->server);

    for (const char *name; (name = lookup_next(l, kind, key, &c));) {
        put_tracked(r, name);
    }
}

/* By "network/ip": the workloads there, else the first service. False: nobody. */
static bool put_aliased(struct reply *r, struct slice name)
{
    const struct lookup_table *l = ads_server_lookup(r->stream->server);
    struct lookup_cursor c = {.at = NULL};

    if (lookup_next(l, LOOKUP_WORKLOAD_IP, name, &c)) {
        put_found(r, LOOKUP_WORKLOAD_IP, name);
        return true;
    }
    c = (struct lookup_cursor){.at = NULL};
    const char *service = lookup_next(l, LOOKUP_SERVICE_IP, name, &c);
    if (!service) {
        return false;
    }
    put_tracked(r, service);
    put_found(r, LOOKUP_MEMBER, slice_of(service));
    return true;
}

static void put_named(struct reply *r, struct slice name, const struct ads_request *q)
{
    const struct catalog_entry *e = catalog_find(r->catalog, name);

    (void)track(r, name); /* whether or not it is new */
    if (is_live(e)) {
        if (!ads_request_is_same(q, e)) {
            put_resource(r, e);
        }
        put_found(r, LOOKUP_MEMBER, name);
    } else if (!put_aliased(r, name)) {
        put_removed(r, name);
    }
}

static void put_all_named(struct reply *r, const struct name_set *names,
                          const struct ads_request *q)
{
    name_set_for_each(n, names)
    {
        const struct name_item *i = container_of(n, struct name_item, by_name);
        if (strcmp(i->name, "*") != 0) {
            put_named(r, (struct slice){i->name, i->len}, q);
        }
    }
}

static void answer_names(struct reply *r, const struct ads_request *q)
{
    put_all_named(r, &q->subscribe, q);
    put_all_named(r, &q->held, q);
    put_all_named(r, &q->gone, q);
    if (r->stream->node.node) {
        put_found(r, LOOKUP_NODE, slice_of(r->stream->node.node));
    }
    if (r->watch->heard == 0) {
        r->watch->heard = catalog_seq(r->catalog);
    }
}

struct wanting {
    const struct reply *reply;
    bool is_wanted;
};

static void look(void *arg, enum lookup_kind kind, struct slice key)
{
    struct wanting *w = arg;
    const struct ads_stream *c = w->reply->stream;

    if (kind == LOOKUP_NODE) {
        w->is_wanted |= c->node.node && slice_is(key, c->node.node);
    } else {
        w->is_wanted |= name_set_has(&w->reply->watch->names, key);
    }
}

/* A name that nobody had when it was asked for is told when somebody has it, an address too. */
static bool is_wanted(const struct reply *r, const struct catalog_entry *e)
{
    struct wanting w = {r, name_set_has(&r->watch->names, slice_of(e->name))};

    if (!w.is_wanted && is_live(e)) {
        lookup_keys(catalog_value(e), look, &w);
    }
    return w.is_wanted;
}

/* ---- the three kinds of responses */

static void count(const struct reply *r, enum ads_type type, uint64_t *of_kind)
{
    struct ads_server_stats *s = &r->stream->server->stats;

    s->resources[type] += r->resources;
    s->bytes += r->out->len;
    (*of_kind)++;
}

bool ads_answer_build(struct ads_stream *c)
{
    const struct ads_request *q = &c->request;
    struct reply r;

    begin(&r, c, q->type);
    if (r.watch->mode == WATCH_NAMES) {
        answer_names(&r, q);
    } else {
        answer_all(&r, q);
    }
    finish(&r, ads_type_urls[q->type], r.watch->nonce);
    count(&r, q->type, &c->server->stats.responses[q->type]);
    return true;
}

void ads_answer_unknown(struct ads_stream *c)
{
    char nonce[ADS_NONCE_TEXT];
    struct reply r;

    begin(&r, c, ADS_UNKNOWN);
    finish(&r, c->request.type_url ? c->request.type_url : "", nonce);
}

static void put_changed(struct reply *r, const struct catalog_entry *e)
{
    if (r->watch->mode == WATCH_NAMES && !is_wanted(r, e)) {
        return;
    }
    if (catalog_is_gone(e)) {
        put_removed(r, slice_of(e->name));
        return;
    }
    if (r->watch->mode == WATCH_NAMES) {
        (void)track(r, slice_of(e->name)); /* whether or not it is new */
    }
    put_resource(r, e);
}

/* False: there is nothing in it. */
static bool finish_push(struct reply *r, enum ads_type type)
{
    if (r->resources == 0 && r->removals == 0) {
        strbuf_clear(r->out);
        strbuf_fini(&r->removed);
        return false;
    }
    finish(r, ads_type_urls[type], r->watch->nonce);
    count(r, type, &r->stream->server->stats.pushes[type]);
    return true;
}

/* Of what is told before its turn. */
static const struct catalog_entry *first_ahead(const struct reply *r)
{
    return catalog_after(r->catalog, MAX_OF(r->watch->heard, r->watch->ahead));
}

bool ads_withdrawal_build(struct ads_stream *c, enum ads_type type)
{
    struct reply r;

    begin(&r, c, type);
    const struct catalog_entry *e = first_ahead(&r);
    for (; e; e = catalog_next(r.catalog, e)) {
        if (catalog_is_gone(e) && is_for(c, type, e->name)) {
            put_removed(&r, slice_of(e->name));
        }
    }
    r.watch->ahead = catalog_seq(r.catalog);
    return finish_push(&r, type);
}

static bool is_scoped(const struct catalog_entry *e)
{
    enum { SCOPE = 3 }; /* proto/authorization.proto; absent: global */
    struct slice value = catalog_value(e);
    struct pbwalk w;
    struct pb_field f;

    pbwalk_init(&w, value.p, value.len);
    while (pbwalk_next(&w, &f) > 0) {
        if (f.number == SCOPE) {
            return f.value != SCOPED_WORKLOAD;
        }
    }
    return true;
}

bool ads_scoped_build(struct ads_stream *c)
{
    struct reply r;

    begin(&r, c, ADS_AUTHORIZATION);
    const struct catalog_entry *e = first_ahead(&r);
    for (; e; e = catalog_next(r.catalog, e)) {
        if (is_live(e) && is_scoped(e)) {
            put_resource(&r, e);
        }
    }
    r.watch->ahead = catalog_seq(r.catalog);
    return finish_push(&r, ADS_AUTHORIZATION);
}

static bool was_put_ahead(const struct reply *r, enum ads_type type, const struct catalog_entry *e)
{
    return type == ADS_AUTHORIZATION && e->changed <= r->watch->ahead && is_live(e) && is_scoped(e);
}

bool ads_push_build(struct ads_stream *c, enum ads_type type)
{
    struct reply r;

    begin(&r, c, type);
    const struct catalog_entry *e = catalog_after(r.catalog, r.watch->heard);
    for (; e; e = catalog_next(r.catalog, e)) {
        if (is_for(c, type, e->name) && !was_put_ahead(&r, type, e)) {
            put_changed(&r, e);
        }
    }
    r.watch->heard = catalog_seq(r.catalog);
    return finish_push(&r, type);
}
