/* SPDX-License-Identifier: Apache-2.0 */
#include "xds/ads_client.h"

#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/num.h"
#include "xds/request_int.h"
#include "xds/resource.h"
#include "xds/response_int.h"

enum {
    BACKOFF_FIRST_MS = 10, /* contract 5.5 */
    BACKOFF_MAX_MS = 15000,
    TOGETHER_MS = 10000,
    TURN_BYTES = 256 << 10,
    OUTBOX_MAX = 16 /* answers not yet taken by the stream; then we stop reading */
};

static const char method[] =
    "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources";

static struct log_scope scope = LOG_SCOPE("xds");

enum ads_step {
    ADS_WAIT,    /* for the back-off to end */
    ADS_CONNECT, /* the dialer is at work */
    ADS_STREAM   /* the call is open */
};

struct outgoing {
    struct list in_outbox;
    struct bytes message;
};

struct ads_client {
    struct task task;
    struct timer timer; /* ADS_WAIT: the back-off; ADS_STREAM: first answers that are missing */
    struct ads_config config;
    struct ads_interest interest;
    enum ads_step step;
    uint64_t delay_ms;
    struct bytes node;
    struct grpc_client *client;
    struct grpc_call *call;
    struct list outbox;
    unsigned outbox_count;
    struct snap_bin bin;
    const struct world *told;  /* by all of the answers */
    const struct world *world; /* what is in force */
    struct intern *pool;
    struct ads_names rejected;
    struct ads_response response;
    bool in_response;
    bool answered[ADS_CLIENT_TYPES_MAX]; /* a first answer was acknowledged */
    bool heard[ADS_CLIENT_TYPES_MAX];    /* this stream has answered */
    struct ads_stats stats;
};

static const struct {
    const char *name;
    bool grows; /* the delay doubles; otherwise it starts over */
} ends[ADS_ENDS] = {
    [ADS_END_CONNECTION] = {"ConnectionError", true},
    [ADS_END_RECONNECT] = {"Reconnect", false},
    [ADS_END_ERROR] = {"Error", true},
    [ADS_END_COMPLETE] = {"Complete", false},
};

static void outbox_clear(struct ads_client *c)
{
    for (struct list *n; (n = list_take_first(&c->outbox));) {
        struct outgoing *o = container_of(n, struct outgoing, in_outbox);
        bytes_fini(&o->message);
        mem_free(o);
    }
    c->outbox_count = 0;
}

static struct bytes *outbox_add(struct ads_client *c)
{
    struct outgoing *o = mem_new(struct outgoing);

    bytes_init(&o->message, SIZE_MAX / 4);
    list_append(&c->outbox, &o->in_outbox);
    c->outbox_count++;
    return &o->message;
}

static void connection_drop(struct ads_client *c)
{
    if (c->in_response) {
        ads_response_fini(&c->response);
        c->in_response = false;
    }
    outbox_clear(c);
    grpc_call_close(c->call);
    c->call = NULL;
    grpc_client_free(c->client);
    c->client = NULL;
    c->stats.connected = false;
}

static void enter(struct ads_client *c, enum ads_step next)
{
    timer_clear(&c->timer);
    c->step = next;
    switch (next) {
    case ADS_WAIT:
        timer_set(&c->timer, &c->task, c->delay_ms);
        break;
    case ADS_CONNECT:
        c->config.dialer->start(c->config.dialer, &c->task);
        break;
    case ADS_STREAM:
        c->stats.connected = true;
        c->stats.last_error = (struct diag){0};
        break;
    }
}

/* What the end of a stream means for the next attempt (contract 5.5). */
static enum ads_end end_of(const struct grpc_status *s)
{
    switch (s->code) {
    case GRPC_OK:
        return ADS_END_COMPLETE;
    case GRPC_UNKNOWN:
    case GRPC_CANCELLED:
    case GRPC_DEADLINE_EXCEEDED:
        return ADS_END_RECONNECT;
    case GRPC_UNAVAILABLE:
        return strstr(s->text, "transport is closing") || strstr(s->text, "received prior goaway")
                   ? ADS_END_RECONNECT
                   : ADS_END_ERROR;
    default: /* numbers on the wire, not all of them ours */
        return ADS_END_ERROR;
    }
}

static void lose(struct ads_client *c, enum ads_end how, const struct diag *why)
{
    connection_drop(c);
    c->stats.ends[how]++;
    c->stats.last_error = *why;
    if (ends[how].grows) {
        c->delay_ms = MIN_OF(c->delay_ms * 2, (uint64_t)BACKOFF_MAX_MS);
    } else {
        c->delay_ms = BACKOFF_FIRST_MS;
    }
    log_at(&scope, ends[how].grows ? LOG_WARN : LOG_DEBUG, "control plane stream ended",
           F_STR("reason", ends[how].name), F_DIAG(why), F_U64("retry_in_ms", c->delay_ms));
    enter(c, ADS_WAIT);
    task_wake(c->config.owner, WAKE_CHILD);
}

static bool is_rejected(void *arg, const char *name)
{
    return ads_names_has(&((struct ads_client *)arg)->rejected, name);
}

static void subscribe(struct ads_client *c)
{
    memset(c->heard, 0, sizeof(c->heard));
    for (unsigned i = 0; i < c->interest.type_count; i++) {
        struct ads_first_request q = {.type_url = c->interest.types[i],
                                      .node = &c->node,
                                      .world = c->told,
                                      .interest = &c->interest,
                                      .is_rejected = is_rejected,
                                      .arg = c};
        ads_first_pack(outbox_add(c), &q);
    }
    if (c->told != c->world) { /* an earlier stream's, which this one may have nothing to add to */
        timer_set(&c->timer, &c->task, TOGETHER_MS);
    }
}

/* 0 once connected and subscribed, -EAGAIN, or lost (and -EAGAIN until the timer). */
static int step_connect(struct ads_client *c)
{
    const struct message *metadata = NULL;
    struct diag why = {0};
    int r = c->config.dialer->poll(c->config.dialer, &c->task, &c->client, &metadata, &why);

    if (r == -EAGAIN) {
        return r;
    }
    if (r < 0) {
        lose(c, ADS_END_CONNECTION, &why);
        return -EAGAIN;
    }
    c->call = grpc_client_call(c->client, method, metadata, 0);
    grpc_call_own(c->call, &c->task);
    enter(c, ADS_STREAM);
    subscribe(c);
    return 0;
}

static int outbox_send(struct ads_client *c)
{
    while (!list_is_empty(&c->outbox)) {
        struct outgoing *o = container_of(c->outbox.next, struct outgoing, in_outbox);
        int r = grpc_call_send(c->call, bytes_peek(&o->message), o->message.len);
        if (r < 0) {
            return r;
        }
        list_remove(&o->in_outbox);
        bytes_fini(&o->message);
        mem_free(o);
        c->outbox_count--;
    }
    int r = grpc_call_flush(c->call);
    return r == -EAGAIN ? 0 : r; /* what is accepted leaves by itself */
}

static void publish(struct ads_client *c)
{
    world_unref(c->world);
    c->world = world_ref(c->told);
    if (c->interest.sink) {
        c->interest.sink->commit(c->interest.sink_arg, c->world);
    }
    snap_publish(c->config.slots, c->config.slot_count, world_snap(world_ref(c->world)));
    for (unsigned i = 0; c->config.poke && c->config.poke[i]; i++) {
        loop_poke(c->config.poke[i]);
    }
    (void)snap_bin_empty(&c->bin); /* how many is of no interest */
    task_wake(c->config.owner, WAKE_CHILD);
}

static bool is_whole(const struct ads_client *c)
{
    for (unsigned i = 0; i < c->interest.type_count; i++) {
        if (!c->heard[i]) {
            return false;
        }
    }
    return true;
}

/* The first answers of a stream say by type what has changed meanwhile: a policy that went may have
 * gone with what it protected, or in favour of another type's. They are in force together, whatever
 * their order is. A server may have no answer where nothing has changed: it is waited for, but not
 * for ever. */
static void take_in(struct ads_client *c, unsigned type)
{
    world_unref(c->told);
    c->told = world_next(c->response.delta);
    c->response.delta = NULL;
    c->heard[type] = true;
    if (is_whole(c)) {
        timer_clear(&c->timer);
        publish(c);
    } else if (!timer_is_armed(&c->timer)) {
        timer_set(&c->timer, &c->task, TOGETHER_MS);
    }
}

static void wait_no_longer(struct ads_client *c)
{
    timer_clear(&c->timer);
    for (unsigned i = 0; i < c->interest.type_count; i++) {
        if (!c->heard[i]) {
            log_warn(&scope, "no first answer, what others brought is in force without it",
                     F_STR("type_url", c->interest.types[i]));
            c->heard[i] = true;
        }
    }
    publish(c);
}

static void answer(struct ads_client *c, unsigned type)
{
    struct ads_response *r = &c->response;
    const char *nack = r->refused > 0 ? strbuf_text(&r->errors) : NULL;

    if (type == ADS_NO_TYPE) {
        log_error(&scope, "unknown type", F_STR("type_url", r->type_url ? r->type_url : ""));
    } else if (nack) {
        c->stats.rejected += r->refused;
        (void)diag_note(&c->stats.last_nack, -ERR_SYNTAX, "%s", nack); /* noted, not returned */
        log_warn(&scope, "resources refused", F_STR("type_url", r->type_url), F_STR("why", nack));
    } else {
        c->answered[type] = true;
    }
    ads_answer_pack(outbox_add(c), r->type_url ? r->type_url : "", r->nonce ? r->nonce : "",
                    type == ADS_NO_TYPE ? NULL : nack);
}

/* The message is complete: everything it brought becomes visible at once. */
static int response_done(struct ads_client *c, struct diag *why)
{
    unsigned type = ADS_NO_TYPE;
    int r = ads_response_end(&c->response, &type, why);

    if (r < 0) {
        return r;
    }
    if (type != ADS_NO_TYPE) {
        c->stats.responses[type]++;
        c->stats.response_bytes[type] += c->response.bytes;
        take_in(c, type);
    }
    answer(c, type);
    ads_response_fini(&c->response);
    c->in_response = false;
    return 0;
}

/* One piece of the current message: its length, 0 when the message is complete. */
static ssize_t take_piece(struct ads_client *c, struct diag *why)
{
    struct iovec v;
    int n = grpc_call_peek(c->call, &v, 1);

    if (n < 0) {
        return n;
    }
    if (n == 0) {
        return response_done(c, why);
    }
    size_t len = MIN_OF(v.iov_len, (size_t)TURN_BYTES / 4);
    int r = ads_response_feed(&c->response, v.iov_base, len, why);
    if (r < 0) {
        return r;
    }
    grpc_call_skip(c->call, len);
    return (ssize_t)len;
}

static int next_message(struct ads_client *c)
{
    uint32_t len = 0;
    int r = grpc_call_next(c->call, &len);

    if (r > 0) {
        ads_response_init(&c->response, &c->interest, c->told, c->pool, &c->rejected);
        c->in_response = true;
    }
    return r;
}

/* 1: budget spent; 0: the stream ended well; -EAGAIN; else the error. */
static int receive(struct ads_client *c, struct diag *why)
{
    size_t taken = 0;

    while (taken < TURN_BYTES) {
        ssize_t n = 0;
        if (c->in_response) {
            n = take_piece(c, why);
            taken += n > 0 ? (size_t)n : 0;
        } else if (c->outbox_count >= OUTBOX_MAX) {
            return -EAGAIN; /* woken when the stream takes our answers */
        } else {
            n = next_message(c);
            if (n == 0) {
                return 0;
            }
        }
        if (n < 0) {
            return (int)n;
        }
    }
    return 1;
}

static void stream_ended(struct ads_client *c, int r, struct diag *why)
{
    const struct grpc_status *s = grpc_call_status(c->call);
    enum ads_end how = end_of(s);

    if (r == -ERR_SYNTAX || r == -ERR_TOO_LARGE) {
        how = ADS_END_RECONNECT; /* the message did not decode: why says which part */
    } else if (r < 0 && why->code == 0) {
        (void)diag_note(why, r, "%s: %s", grpc_code_name(s->code), s->text);
    } else if (r == 0) {
        (void)diag_note(why, 0, "the server ended the stream");
    }
    lose(c, how, why);
}

/* Reading comes first: a server that has ended the call may refuse to take more, and its status is
 * what counts then. */
static int step_stream(struct ads_client *c)
{
    struct diag why = {0};

    if (timer_is_due(&c->timer)) {
        wait_no_longer(c);
    }
    int r = receive(c, &why);
    if (r == -EAGAIN || r == 1) {
        int sent = outbox_send(c);
        if (r == 1) {
            task_wake(&c->task, WAKE_IO);
        }
        r = sent < 0 && sent != -EAGAIN ? sent : -EAGAIN;
    }
    if (r != -EAGAIN) {
        stream_ended(c, r, &why);
    }
    return -EAGAIN;
}

static int step(struct ads_client *c)
{
    switch (c->step) {
    case ADS_WAIT:
        if (!timer_is_due(&c->timer)) {
            return -EAGAIN;
        }
        enter(c, ADS_CONNECT);
        return 0;
    case ADS_CONNECT:
        return step_connect(c);
    case ADS_STREAM:
        return step_stream(c);
    }
    return -EAGAIN;
}

static void run(struct task *t, unsigned why)
{
    struct ads_client *c = container_of(t, struct ads_client, task);

    (void)why; /* every wake is a hint */
    while (step(c) == 0) {
    }
}

static const char *const node_proxy_types[] = {XDS_TYPE_ADDRESS, XDS_TYPE_AUTHORIZATION};
static const struct ads_interest node_proxy = {.types = node_proxy_types,
                                               .type_count = ARRAY_LEN(node_proxy_types)};

struct ads_client *ads_client_new(struct loop *l, const struct ads_config *config)
{
    struct ads_client *c = mem_new(struct ads_client);

    c->config = *config;
    c->interest = config->interest ? *config->interest : node_proxy;
    c->delay_ms = BACKOFF_FIRST_MS;
    list_init(&c->outbox);
    ads_names_init(&c->rejected);
    c->pool = intern_new();
    c->told = world_new(&c->bin);
    c->world = world_ref(c->told);
    bytes_init(&c->node, 1 << 20);
    ads_node_pack(&c->node, config->node_id, config->metadata);
    c->config.metadata = NULL;
    c->config.node_id = NULL;
    task_init(&c->task, l, "ads", run);
    enter(c, ADS_CONNECT);
    return c;
}

void ads_client_free(struct ads_client *c)
{
    if (!c) {
        return;
    }
    timer_clear(&c->timer);
    if (c->step == ADS_CONNECT) {
        c->config.dialer->stop(c->config.dialer);
    }
    connection_drop(c);
    task_fini(&c->task);
    world_unref(c->told);
    world_unref(c->world);
    (void)snap_bin_empty(
        &c->bin); /* the slots were emptied before: nothing names the bin any more */
    ads_names_fini(&c->rejected);
    intern_free(c->pool);
    bytes_fini(&c->node);
    mem_free(c);
}

const struct world *ads_client_world(const struct ads_client *c)
{
    return c->world;
}

bool ads_client_is_synced(const struct ads_client *c)
{
    for (unsigned i = 0; i < c->interest.type_count; i++) {
        if (!c->answered[i]) {
            return false;
        }
    }
    return true;
}

const struct ads_stats *ads_client_stats(const struct ads_client *c)
{
    return &c->stats;
}

const struct ads_interest *ads_client_interest(const struct ads_client *c)
{
    return &c->interest;
}

struct json *ads_client_json(const struct ads_client *c)
{
    const struct ads_stats *stats = ads_client_stats(c);
    struct json *o = json_new_object();

    json_set_bool(o, "connected", stats->connected);
    json_set_bool(o, "synced", ads_client_is_synced(c));
    json_set_int(o, "rejected", (int64_t)stats->rejected);
    if (stats->last_error.code < 0) {
        json_set_str(o, "error", stats->last_error.text);
    }
    if (stats->last_nack.code < 0) {
        json_set_str(o, "refusal", stats->last_nack.text);
    }
    return o;
}
