/* SPDX-License-Identifier: Apache-2.0 */
#include "kube/kube_watch.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/map.h"
#include "base/mem.h"
#include "base/num.h"
#include "base/rand.h"
#include "codec/json.h"
#include "codec/url.h"
#include "io/loop.h"
#include "kube/call.h"
#include "kube/client.h"
#include "kube/definition.h"
#include "kube/resource.h"
#include "kube/transfer_int.h"

enum watch_step {
    STEP_LIST,    /* a page is being asked for */
    STEP_DOUBT,   /* the server says that it does not have the kind: is that so? */
    STEP_PAGE,    /* its items are shown */
    STEP_SWEEP,   /* the list is over: what it did not hold is gone */
    STEP_WATCH,   /* changes are read */
    STEP_BACKOFF, /* something failed; the timer runs */
};

static const struct {
    const char *name;
    unsigned may_go;
    unsigned limit_ms; /* 0: the call, the transfer or the owner's pace bounds it */
} steps[] = {
    [STEP_LIST] = {"list", BIT(STEP_PAGE) | BIT(STEP_BACKOFF) | BIT(STEP_LIST) | BIT(STEP_DOUBT),
                   0},
    [STEP_DOUBT] = {"doubt", BIT(STEP_SWEEP) | BIT(STEP_BACKOFF), 0},
    [STEP_PAGE] = {"page", BIT(STEP_LIST) | BIT(STEP_SWEEP), 0},
    [STEP_SWEEP] = {"sweep", BIT(STEP_WATCH) | BIT(STEP_BACKOFF), 0},
    [STEP_WATCH] = {"watch", BIT(STEP_WATCH) | BIT(STEP_LIST) | BIT(STEP_BACKOFF), 0},
    [STEP_BACKOFF] = {"backoff", BIT(STEP_LIST) | BIT(STEP_WATCH), 0},
};

struct known { /* an object that the owner knows of */
    struct map_node node;
    char *ns;
    char *name;
    char *rv;
    char *uid;
    unsigned round; /* the list that showed it last */
};

struct kube_watch {
    struct task task; /* passes wakes on */
    struct timer timer;
    struct kube_client *client;
    struct task *owner;
    const struct kube_resource *resource;
    char *ns;
    char *label_selector;
    char *field_selector;
    bool by_definition;
    bool may_be_unserved;
    struct rand_seq jitter;
    enum watch_step step;
    struct map known;
    unsigned round;
    char *rv; /* watched from here */
    /* STEP_LIST, STEP_PAGE */
    struct kube_call *call;
    struct json *list;
    size_t item;
    char *token; /* of the next page; NULL = none */
    /* STEP_DOUBT */
    struct definition_check *doubt;
    unsigned unnamed; /* answers in a row by which there is no such kind, but no proof either */
    bool is_absent;
    /* STEP_SWEEP */
    struct known **stale;
    size_t stale_count;
    /* STEP_WATCH */
    struct transfer *transfer;
    uint64_t began_ms;
    unsigned lines;
    unsigned failures;  /* in a row */
    unsigned forgotten; /* versions in a row that the server did not know any more */
    bool list_again;    /* after the backoff */
    bool synced;
    struct diag diag;
};

static void replace(char **at, const char *text)
{
    mem_free(*at);
    *at = text ? mem_strdup(text) : NULL;
}

/* ---- what the owner knows */

static uint64_t hash_of(const char *ns, const char *name)
{
    return map_hash_str(ns) * 31 + map_hash_str(name);
}

static struct known *find_known(const struct kube_watch *w, const char *ns, const char *name)
{
    for (struct map_node *n = map_find(&w->known, hash_of(ns, name)); n; n = map_find_next(n)) {
        struct known *k = container_of(n, struct known, node);
        if (strcmp(k->ns, ns) == 0 && strcmp(k->name, name) == 0) {
            return k;
        }
    }
    return NULL;
}

static void known_free(struct known *k)
{
    mem_free(k->ns);
    mem_free(k->name);
    mem_free(k->rv);
    mem_free(k->uid);
    mem_free(k);
}

static void forget(struct kube_watch *w, struct known *k)
{
    map_remove(&w->known, &k->node);
    known_free(k);
}

/* True: the owner has to hear of it, as *out. */
static bool note(struct kube_watch *w, const struct json *object, enum kube_event_type *out)
{
    const char *ns = json_str_at(object, "metadata.namespace", "");
    const char *name = json_str_at(object, "metadata.name", "");
    const char *rv = json_str_at(object, "metadata.resourceVersion", "");
    struct known *k = find_known(w, ns, name);

    *out = k ? KUBE_MODIFIED : KUBE_ADDED;
    if (!k) {
        k = mem_new(struct known);
        k->ns = mem_strdup(ns);
        k->name = mem_strdup(name);
        map_insert(&w->known, &k->node, hash_of(ns, name));
    }
    bool news = !k->rv || strcmp(k->rv, rv) != 0;
    replace(&k->rv, rv);
    replace(&k->uid, json_str_at(object, "metadata.uid", ""));
    k->round = w->round;
    return news;
}

/* ---- steps and failures */

static void enter(struct kube_watch *w, enum watch_step next)
{
    assert(steps[w->step].may_go & BIT(next));
    w->step = next;
    timer_clear(&w->timer);
    if (steps[next].limit_ms > 0) {
        timer_set(&w->timer, &w->task, steps[next].limit_ms);
    }
}

static void drop_requests(struct kube_watch *w)
{
    kube_call_free(w->call);
    w->call = NULL;
    definition_check_free(w->doubt);
    w->doubt = NULL;
    transfer_free(w->transfer);
    w->transfer = NULL;
}

static void back_off(struct kube_watch *w, bool list_again, uint64_t retry_after_s)
{
    uint64_t base = (uint64_t)KUBE_WATCH_BACKOFF_MIN_MS << MIN_OF(w->failures, 10u);
    uint64_t wait_ms = MIN_OF(base, (uint64_t)KUBE_WATCH_BACKOFF_MAX_MS);

    wait_ms = wait_ms / 2 + rand_seq_below(&w->jitter, wait_ms / 2 + 1);
    wait_ms = MAX_OF(wait_ms, MIN_OF(retry_after_s * 1000, (uint64_t)KUBE_WATCH_BACKOFF_MAX_MS));
    drop_requests(w);
    w->failures++;
    w->list_again = list_again;
    enter(w, STEP_BACKOFF);
    timer_set(&w->timer, &w->task, wait_ms);
}

static void is_well(struct kube_watch *w)
{
    w->failures = 0;
    w->diag = (struct diag){0};
}

/* ---- lists */

static void start_list(struct kube_watch *w)
{
    struct kube_ask ask = {
        .verb = KUBE_LIST,
        .resource = w->resource,
        .ns = w->ns,
        .label_selector = w->label_selector,
        .field_selector = w->field_selector,
        .continue_token = w->token,
        .limit = KUBE_WATCH_PAGE,
    };

    w->call = kube_call_new(w->client, &ask, &w->task);
}

static void restart_list(struct kube_watch *w)
{
    drop_requests(w);
    replace(&w->token, NULL);
    w->round++;
    enter(w, STEP_LIST);
    start_list(w);
}

/* The server does not know the version any more that it is asked about. A list costs it more than all
 * else: who forgets what he has just listed is not asked again at once. */
static void list_anew(struct kube_watch *w)
{
    if (w->forgotten++ == 0) {
        restart_list(w);
        return;
    }
    (void)diag_note(&w->diag, -ERR_VERSION, "%s: the server forgets what it has just listed",
                    w->resource->plural); /* told by the step */
    w->failures = w->forgotten;
    back_off(w, true, 0);
}

static void accept_page(struct kube_watch *w, struct json *take_list)
{
    const char *token = json_str_at(take_list, "metadata.continue", "");

    json_unref(w->list);
    w->list = take_list;
    w->item = 0;
    replace(&w->token, token[0] != '\0' ? token : NULL);
    replace(&w->rv, json_str_at(take_list, "metadata.resourceVersion", "0"));
    w->is_absent = false;
    w->unnamed = 0;
    is_well(w);
    enter(w, STEP_PAGE);
}

static int step_list(struct kube_watch *w)
{
    struct kube_answer a = {0};
    struct diag why = {0};
    int r = kube_call_take(w->call, &a, &why);

    if (r == -EAGAIN) {
        return r;
    }
    kube_call_free(w->call);
    w->call = NULL;
    if (r == 0) {
        r = kube_answer_error(&a, &why);
    }
    if (r == 0 && !json_get(a.body, "items")) {
        r = FAIL(&why, -ERR_SYNTAX, "API server: the answer is no list");
    }
    bool is_doubtful = r == -ERR_NOT_FOUND && w->by_definition;
    if (!is_doubtful) {
        w->diag = why;
        w->unnamed = 0; /* not in a row any more */
    } else if (w->is_absent) {
        w->diag = (struct diag){0}; /* as before */
    }
    if (r == 0) {
        accept_page(w, MOVE(a.body));
    } else if (is_doubtful && !w->is_absent) {
        enter(w, STEP_DOUBT);
        w->doubt = definition_check_new(w->client, w->resource, &w->task);
    } else if (r == -ERR_VERSION && w->token) {
        list_anew(w); /* the snapshot that the pages come from is gone */
    } else {
        back_off(w, true, a.retry_after_s);
    }
    kube_answer_fini(&a);
    return 0;
}

/* ---- kinds that a server says it does not have */

static void note_doubt(struct kube_watch *w, const char *what)
{
    (void)diag_note(&w->diag, -ERR_UNAVAILABLE, "the definition %s.%s %s %s", w->resource->plural,
                    w->resource->group, what, w->resource->version); /* told by the step */
}

/* True: the kind is not there. Else diag says what is the matter with it. */
static bool believes(struct kube_watch *w, enum definition_verdict v)
{
    switch (v) {
    case DEFINITION_ABSENT:
        return true;
    case DEFINITION_UNNAMED:
        note_doubt(w, "may not be read, and the API server does not name the kind: asked again,");
        return w->unnamed++ > 0;
    case DEFINITION_UNSERVED:
        note_doubt(w, "is there, but does not serve version");
        return w->may_be_unserved;
    case DEFINITION_THERE:
        note_doubt(w, "is there, but the API server does not serve it yet:");
        w->unnamed = 0;
        return false;
    }
    return false;
}

static int step_doubt(struct kube_watch *w)
{
    enum definition_verdict v = DEFINITION_THERE;
    struct diag why = {0};
    int r = definition_check_take(w->doubt, &v, &why);

    if (r == -EAGAIN) {
        return r;
    }
    if (r < 0) {
        w->diag = why;
        w->unnamed = 0;
    }
    w->is_absent = r == 0 && believes(w, v);
    if (w->is_absent) {
        drop_requests(w);
        is_well(w);
        w->round++; /* nothing that is known was shown in it */
        enter(w, STEP_SWEEP);
        return 0;
    }
    back_off(w, true, v == DEFINITION_UNNAMED ? KUBE_WATCH_DOUBT_S : 0);
    return 0;
}

/* ---- items */

/* Items of built-in kinds come without kind and apiVersion: the list's tell. */
static void name_kind(const struct kube_watch *w, struct json *item)
{
    const char *kind = json_str_at(w->list, "kind", "");
    size_t n = strlen(kind);

    if (!json_get(item, "kind") && n > 4 && strcmp(kind + n - 4, "List") == 0) {
        AUTO(text) char *single = mem_dup(kind, n - 4);
        json_set_str(item, "kind", single);
        json_set_str(item, "apiVersion", json_str_at(w->list, "apiVersion", ""));
    }
}

static int step_page(struct kube_watch *w, struct kube_event *out)
{
    const struct json *items = json_get(w->list, "items");

    while (w->item < json_count(items)) {
        struct json *item = json_item(items, w->item++);
        if (note(w, item, &out->type)) {
            name_kind(w, item);
            out->object = json_ref(item);
            return 1;
        }
    }
    w->list = json_unref(w->list);
    if (w->token) {
        enter(w, STEP_LIST);
        start_list(w);
    } else {
        enter(w, STEP_SWEEP);
    }
    return 0;
}

static void find_stale(struct kube_watch *w)
{
    w->stale = mem_array(w->known.count + 1, sizeof(*w->stale));
    map_for_each (n, &w->known) {
        struct known *k = container_of(n, struct known, node);
        if (k->round != w->round) {
            w->stale[w->stale_count++] = k;
        }
    }
}

static struct json *tombstone(const struct known *k)
{
    struct json *object = json_new_object();
    struct json *meta = json_make_object(object, "metadata");

    json_set_str(meta, "name", k->name);
    json_set_str(meta, "namespace", k->ns);
    json_set_str(meta, "uid", k->uid);
    return object;
}

static void start_watch(struct kube_watch *w);

static int step_sweep(struct kube_watch *w, struct kube_event *out)
{
    if (!w->stale) {
        find_stale(w);
    }
    if (w->stale_count > 0) {
        struct known *k = w->stale[--w->stale_count];
        *out = (struct kube_event){KUBE_DELETED, tombstone(k)};
        forget(w, k);
        return 1;
    }
    mem_free(w->stale);
    w->stale = NULL;
    w->synced = true;
    if (w->is_absent) {
        back_off(w, true, 0);
    } else {
        enter(w, STEP_WATCH);
        start_watch(w);
    }
    *out = (struct kube_event){KUBE_SYNCED, NULL};
    return 1;
}

/* ---- watches */

static void add_parameter(struct strbuf *query, const char *name, const char *value)
{
    if (value && value[0] != '\0') {
        url_query_add(query, name, value);
    }
}

static void start_watch(struct kube_watch *w)
{
    AUTO(strbuf) struct strbuf target = {0};
    AUTO(strbuf) struct strbuf query = {0};
    uint64_t timeout_s = KUBE_WATCH_TIMEOUT_S + rand_seq_below(&w->jitter, KUBE_WATCH_TIMEOUT_S);
    char number[24];

    kube_resource_path(&target, w->resource, w->ns ? w->ns : "", "", "");
    add_parameter(&query, "labelSelector", w->label_selector);
    add_parameter(&query, "fieldSelector", w->field_selector);
    add_parameter(&query, "resourceVersion", w->rv);
    (void)snprintf(number, sizeof(number), "%" PRIu64, timeout_s); /* 20 digits fit */
    url_query_add(&query, "watch", "true");
    url_query_add(&query, "allowWatchBookmarks", "true");
    url_query_add(&query, "timeoutSeconds", number);
    strbuf_putc(&target, '?');
    strbuf_puts(&target, strbuf_text(&query));
    struct transfer_request rq = {
        .method = "GET",
        .target = strbuf_text(&target),
        .room = KUBE_WATCH_LINE_BYTES,
        .is_stream = true,
        .stall_ms = timeout_s * 1000 + KUBE_WATCH_STALL_MS,
    };
    w->lines = 0;
    w->began_ms = loop_now_ms(kube_client_loop(w->client));
    w->transfer = transfer_start(w->client, &rq, &w->task);
}

static int on_error_event(struct kube_watch *w, const struct json *status)
{
    bool gone = json_int_at(status, "code", 0) == 410;

    if (gone) {
        list_anew(w);
        return 0;
    }
    (void)diag_note(&w->diag, -ERR_UNAVAILABLE, "watch of %s: %s", w->resource->plural,
                    json_str_at(status, "message", "no message")); /* told by the step */
    back_off(w, true, 0);
    return 0;
}

/* 1: *out; 0: nothing that the owner has to hear of. */
static int on_event(struct kube_watch *w, const struct json *event, struct kube_event *out)
{
    const char *type = json_str_at(event, "type", "");
    struct json *object = json_get(event, "object");
    const char *rv = json_str_at(object, "metadata.resourceVersion", NULL);

    if (strcmp(type, "ERROR") == 0) {
        return on_error_event(w, object);
    }
    if (rv) {
        replace(&w->rv, rv);
    }
    is_well(w);
    w->forgotten = 0;
    if (strcmp(type, "DELETED") == 0) {
        struct known *k = find_known(w, json_str_at(object, "metadata.namespace", ""),
                                     json_str_at(object, "metadata.name", ""));
        if (!k) {
            return 0;
        }
        forget(w, k);
        *out = (struct kube_event){KUBE_DELETED, json_ref(object)};
        return 1;
    }
    bool is_change = strcmp(type, "ADDED") == 0 || strcmp(type, "MODIFIED") == 0;
    if (!is_change || !note(w, object, &out->type)) {
        return 0; /* a bookmark, or what the list had shown */
    }
    out->object = json_ref(object);
    return 1;
}

/* The stream has ended, in order or not. */
static int on_end(struct kube_watch *w, int result)
{
    uint64_t lived_ms = loop_now_ms(kube_client_loop(w->client)) - w->began_ms;

    if (result == 0 && (w->lines > 0 || lived_ms >= 1000)) {
        drop_requests(w);
        enter(w, STEP_WATCH);
        start_watch(w);
        return 0;
    }
    if (result < 0) {
        (void)diag_note(&w->diag, result, "watch of %s: %s", w->resource->plural,
                        transfer_diag(w->transfer)->text); /* told by the step */
    }
    back_off(w, false, 0);
    return 0;
}

/* An answer that is no stream: a Status, once it is complete. */
static int on_refusal(struct kube_watch *w, int status)
{
    int r = transfer_result(w->transfer);
    struct slice data = transfer_data(w->transfer);
    AUTO(json) struct json *body = NULL;

    if (r == -EAGAIN) {
        return r;
    }
    if (status == 410) {
        list_anew(w);
        return 0;
    }
    if (json_parse(&body, data.p ? data.p : "", data.len, NULL, NULL) < 0) {
        body = NULL; /* a proxy's page: the number says enough */
    }
    (void)diag_note(&w->diag, -ERR_HTTP_STATUS, "watch of %s: %d: %s", w->resource->plural, status,
                    json_str_at(body, "message", "no message")); /* told by the step */
    back_off(w, status != 429 && status < 500, transfer_retry_after(w->transfer));
    return 0;
}

static int take_line(struct kube_watch *w, struct kube_event *out)
{
    struct slice data = transfer_data(w->transfer);
    const char *end = data.len > 0 ? memchr(data.p, '\n', data.len) : NULL;
    AUTO(json) struct json *event = NULL;

    if (!end) {
        return -EAGAIN;
    }
    size_t len = (size_t)(end - data.p);
    int r = json_parse(&event, data.p, len, NULL, &w->diag);
    transfer_take(w->transfer, len + 1);
    w->lines++;
    if (r < 0) {
        back_off(w, true, 0);
        return 0;
    }
    return on_event(w, event, out);
}

static int step_watch(struct kube_watch *w, struct kube_event *out)
{
    int status = transfer_status(w->transfer);
    int result = transfer_result(w->transfer);

    if (status == -EAGAIN && result == -EAGAIN) {
        return -EAGAIN;
    }
    if (status >= 300) {
        return on_refusal(w, status);
    }
    if (status > 0) {
        w->diag =
            (struct diag){0}; /* the server is back; its failures count until an event comes */
    }
    int r = status > 0 ? take_line(w, out) : -EAGAIN;
    if (r != -EAGAIN) {
        return r;
    }
    if (result != -EAGAIN) {
        return on_end(w, result);
    }
    if (transfer_is_full(w->transfer)) {
        (void)diag_note(&w->diag, -ERR_TOO_LARGE, "watch of %s: an event of more than %d bytes",
                        w->resource->plural, KUBE_WATCH_LINE_BYTES); /* told by the step */
        back_off(w, true, 0);
        return 0;
    }
    return -EAGAIN;
}

static int step_backoff(struct kube_watch *w)
{
    if (!timer_is_due(&w->timer)) {
        return -EAGAIN;
    }
    if (w->list_again) {
        restart_list(w);
    } else {
        enter(w, STEP_WATCH);
        start_watch(w);
    }
    return 0;
}

static int step(struct kube_watch *w, struct kube_event *out)
{
    switch (w->step) {
    case STEP_LIST:
        return step_list(w);
    case STEP_DOUBT:
        return step_doubt(w);
    case STEP_PAGE:
        return step_page(w, out);
    case STEP_SWEEP:
        return step_sweep(w, out);
    case STEP_WATCH:
        return step_watch(w, out);
    case STEP_BACKOFF:
        return step_backoff(w);
    }
    return -EAGAIN;
}

int kube_watch_next(struct kube_watch *w, struct kube_event *out)
{
    struct kube_event event = {0};
    int r = 0;

    while (r == 0) {
        r = step(w, &event);
    }
    if (r == 1) {
        *out = event;
    }
    return r;
}

static void run(struct task *t, unsigned why)
{
    struct kube_watch *w = container_of(t, struct kube_watch, task);

    (void)why; /* whatever it was: the owner asks */
    task_wake(w->owner, WAKE_CHILD);
}

struct kube_watch *kube_watch_new(struct kube_client *c, const struct kube_watch_options *options,
                                  struct task *owner)
{
    struct kube_watch *w = mem_new(struct kube_watch);

    w->client = c;
    w->owner = owner;
    w->resource = options->resource;
    replace(&w->ns, options->ns);
    replace(&w->label_selector, options->label_selector);
    replace(&w->field_selector, options->field_selector);
    w->by_definition = options->by_definition;
    w->may_be_unserved = options->may_be_unserved;
    rand_seq_init(&w->jitter, options->seed > 0 ? options->seed : rand_u64());
    map_init(&w->known);
    task_init(&w->task, kube_client_loop(c), "kubernetes watch", run);
    w->round = 1;
    start_list(w);
    return w;
}

void kube_watch_free(struct kube_watch *w)
{
    if (!w) {
        return;
    }
    drop_requests(w);
    timer_clear(&w->timer);
    task_fini(&w->task);
    json_unref(w->list);
    mem_free(w->stale);
    map_for_each (n, &w->known) {
        forget(w, container_of(n, struct known, node));
    }
    map_fini(&w->known);
    mem_free(w->ns);
    mem_free(w->label_selector);
    mem_free(w->field_selector);
    mem_free(w->rv);
    mem_free(w->token);
    mem_free(w);
}

bool kube_watch_is_synced(const struct kube_watch *w)
{
    return w->synced;
}

bool kube_watch_is_absent(const struct kube_watch *w)
{
    return w->is_absent;
}

const struct diag *kube_watch_diag(const struct kube_watch *w)
{
    return &w->diag;
}
