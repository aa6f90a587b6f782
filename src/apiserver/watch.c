/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/watch.h"

#include <inttypes.h>
#include <string.h>

#include "apiserver/api_status.h"
#include "apiserver/kind.h"
#include "apiserver/object.h"
#include "apiserver/render.h"
#include "apiserver/selector.h"
#include "apiserver/store.h"
#include "apiserver/table.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/num.h"
#include "codec/json.h"

enum { CHANGES_A_CALL = 4096 /* passed over without an event: more wait for the next call */ };

enum watch_step {
    WATCH_INITIAL, /* writing the objects as they were when the watch began */
    WATCH_LIVE,
    WATCH_ENDED,
};

struct watch {
    const struct store *store;
    const struct kind *kind;
    const char *version;
    char *ns;
    struct selector *labels;
    struct selector *fields;
    enum form form;
    char *include_object;
    bool bookmarks;
    bool initial_end;
    bool columns_sent;
    enum watch_step step;
    struct object **first; /* WATCH_INITIAL: what is still to be written, from first_at on */
    size_t first_count;
    size_t first_at;
    uint64_t at; /* the last change looked at */
    uint64_t ends_ns;
    uint64_t bookmark_ns;
};

static const uint64_t second_ns = 1000000000u;

static bool selects(const struct watch *w, const struct object *o)
{
    return o && o->kind == w->kind && (w->ns[0] == '\0' || strcmp(o->ns, w->ns) == 0) &&
           selector_matches(w->labels, o) && selector_matches(w->fields, o);
}

static void take_initial(struct watch *w)
{
    struct cursor c;
    struct object *o = NULL;

    w->first = mem_array(store_count(w->store, w->kind) + 1, sizeof(struct object *));
    w->at = store_rv(w->store);
    if (cursor_init(&c, w->store, w->kind, w->ns, 0) < 0) {
        return; /* the newest state is always there */
    }
    while ((o = cursor_next(&c)) != NULL) {
        if (selects(w, o)) {
            w->first[w->first_count++] = object_ref(o);
        }
    }
    cursor_fini(&c);
}

struct watch *watch_new(const struct store *store, const struct watch_options *options)
{
    struct watch *w = mem_new(struct watch);
    int64_t timeout_s = options->timeout_s > 0 ? options->timeout_s : WATCH_TIMEOUT_S;

    *w = (struct watch){
        .store = store,
        .kind = options->kind,
        .version = options->version,
        .ns = mem_strdup(options->ns),
        .labels = options->take_labels,
        .fields = options->take_fields,
        .form = options->form,
        .include_object = mem_strdup(options->include_object),
        .bookmarks = options->bookmarks,
        .initial_end = options->initial_end,
        .step = options->initial ? WATCH_INITIAL : WATCH_LIVE,
        .at = options->from_rv,
        .ends_ns = options->now_ns + (uint64_t)timeout_s * second_ns,
        .bookmark_ns = options->now_ns + WATCH_BOOKMARK_S * second_ns,
    };
    if (options->initial) {
        take_initial(w);
    }
    return w;
}

static void forget_initial(struct watch *w)
{
    for (; w->first_at < w->first_count; w->first_at++) {
        object_unref(w->first[w->first_at]);
    }
    mem_free(w->first);
    w->first = NULL;
}

void watch_free(struct watch *w)
{
    if (!w) {
        return;
    }
    forget_initial(w);
    selector_free(w->labels);
    selector_free(w->fields);
    mem_free(w->ns);
    mem_free(w->include_object);
    mem_free(w);
}

static void write_table(struct watch *w, const struct object *o, uint64_t now_ns,
                        struct strbuf *out)
{
    AUTO(json) struct json *table = table_new(w->kind, !w->columns_sent);

    w->columns_sent = true;
    table_add(table, o, w->version, w->include_object, (int64_t)(now_ns / second_ns));
    table_set_version(table, o->rv);
    json_print(table, 0, out);
}

static void write_event(struct watch *w, const char *type, const struct object *o, uint64_t now_ns,
                        struct strbuf *out)
{
    render_event_open(out, type);
    if (w->form == FORM_TABLE) {
        write_table(w, o, now_ns, out);
    } else if (w->form == FORM_METADATA) {
        render_metadata(out, o);
    } else {
        render_object(out, o, w->version);
    }
    render_event_close(out);
}

/* What the change is to someone who sees only what the selectors let through. */
static void write_change(struct watch *w, const struct store_change *c, uint64_t now_ns,
                         struct strbuf *out)
{
    bool was = selects(w, c->was);
    bool is = !c->deleted && selects(w, c->now);

    if (was || is) {
        write_event(w, !is ? "DELETED" : was ? "MODIFIED" : "ADDED", c->now, now_ns, out);
    }
}

static void write_bookmark(struct watch *w, bool initial_end, struct strbuf *out)
{
    if (w->form == FORM_TABLE) {
        AUTO(json) struct json *table = table_new(w->kind, !w->columns_sent);
        w->columns_sent = true;
        table_set_version(table, w->at);
        render_event_open(out, "BOOKMARK");
        json_print(table, 0, out);
        render_event_close(out);
    } else {
        render_bookmark(out, w->kind, w->version, w->at, initial_end);
    }
}

static int end(struct watch *w)
{
    w->step = WATCH_ENDED;
    return 0;
}

static int too_old(struct watch *w, struct strbuf *out)
{
    AUTO(strbuf) struct strbuf text = {0};

    strbuf_printf(&text, "too old resource version: %" PRIu64 " (%" PRIu64 ")", w->at,
                  store_floor(w->store));
    AUTO(json) struct json *status = api_status_failure(410, "Expired", strbuf_text(&text));
    render_event_open(out, "ERROR");
    json_print(status, 0, out);
    render_event_close(out);
    return end(w);
}

static int step_initial(struct watch *w, uint64_t now_ns, size_t budget, struct strbuf *out)
{
    size_t before = out->len;

    if (store_durable(w->store) < w->at) {
        return -EAGAIN;
    }
    while (w->first_at < w->first_count) {
        if (out->len - before >= budget) {
            return 1;
        }
        write_event(w, "ADDED", w->first[w->first_at], now_ns, out);
        object_unref(w->first[w->first_at++]);
    }
    forget_initial(w);
    if (w->initial_end && w->bookmarks) {
        write_bookmark(w, true, out);
    }
    w->step = WATCH_LIVE;
    return 1;
}

static int step_live(struct watch *w, uint64_t now_ns, size_t budget, struct strbuf *out)
{
    size_t before = out->len;
    uint64_t durable = store_durable(w->store);

    if (w->at < store_floor(w->store)) {
        return too_old(w, out);
    }
    for (int n = 0; w->at < durable && n < CHANGES_A_CALL && out->len - before < budget; n++) {
        write_change(w, store_change(w->store, ++w->at), now_ns, out);
    }
    bool over = now_ns >= w->ends_ns;
    if (w->bookmarks && w->at <= durable && (over || now_ns >= w->bookmark_ns)) {
        write_bookmark(w, false, out);
        w->bookmark_ns = now_ns + WATCH_BOOKMARK_S * second_ns;
    }
    if (over) {
        return end(w);
    }
    return out->len > before || w->at < durable ? 1 : -EAGAIN;
}

int watch_next(struct watch *w, uint64_t now_ns, size_t budget, struct strbuf *out)
{
    switch (w->step) {
    case WATCH_INITIAL:
        return step_initial(w, now_ns, budget, out);
    case WATCH_LIVE:
        return step_live(w, now_ns, budget, out);
    case WATCH_ENDED:
        return 0;
    }
    return 0;
}

uint64_t watch_due_ns(const struct watch *w)
{
    return w->bookmarks ? MIN_OF(w->ends_ns, w->bookmark_ns) : w->ends_ns;
}
