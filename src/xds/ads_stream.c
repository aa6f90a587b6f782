/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "xds/ads_stream_int.h"

enum { STREAM_ROUNDS = 16 }; /* responses and requests in one run */

static void enter(struct ads_stream *c, enum stream_step next)
{
    c->step = next;
    timer_clear(&c->limit);
    if (next == STREAM_ENDED) {
        list_remove(&c->in_server);
        list_append(&c->server->ended, &c->in_server);
        task_wake(&c->server->task, WAKE_CHILD);
    }
}

/* Ends the call; text may be NULL. */
static void end(struct ads_stream *c, unsigned code, const char *text)
{
    if (c->call) {
        struct grpc_call *call = c->call;
        c->call = NULL;
        grpc_call_own(call, NULL);
        grpc_call_refuse(call, code, text);
    }
    enter(c, STREAM_ENDED);
}

static void cut(struct ads_stream *c, unsigned code, const char *text)
{
    c->server->stats.cut++;
    end(c, code, text);
}

/* ---- the first request: who is this? */

static unsigned count_parts(const char *id)
{
    unsigned n = 1;

    for (; *id; id++) {
        n += *id == '~';
    }
    return n;
}

static bool is_known_type(const char *id)
{
    static const char *const known[] = {"sidecar~", "router~", "waypoint~", "ztunnel~"};

    for (size_t i = 0; i < ARRAY_LEN(known); i++) {
        if (slice_has_prefix(slice_of(id), known[i])) {
            return true;
        }
    }
    return false;
}

/* The namespace a client says it is of: its metadata's, else the first label of its id's domain. */
static struct slice said_namespace(const struct ads_node *n)
{
    const char *domain = strrchr(n->id, '~') + 1;
    struct slice label;
    struct slice rest;

    if (n->ns && *n->ns) {
        return slice_of(n->ns);
    }
    (void)slice_cut(slice_of(domain), '.', &label, &rest); /* without a dot, all of it */
    return label;
}

/* Contract 5.8: its credential has to be of the namespace, and of the account if it names one. */
static bool is_who_it_says(const struct ads_stream *c, const struct ads_node *n)
{
    if (!c->caller_ns) {
        return true;
    }
    bool account = !n->account || !*n->account || strcmp(n->account, c->caller_account) == 0;
    return account && slice_is(said_namespace(n), c->caller_ns);
}

static void refuse_stranger(struct ads_stream *c, const struct ads_node *n)
{
    AUTO(strbuf) struct strbuf text = {0};
    struct slice ns = said_namespace(n);

    strbuf_printf(&text, "authorization failed: no identities ([%s]) matched %.*s/%s",
                  c->caller_identity, (int)ns.len, ns.p, n->account ? n->account : "");
    end(c, GRPC_PERMISSION_DENIED, strbuf_text(&text));
}

static bool acts_for(const struct ads_stream *c, const char *ns, const char *gateway)
{
    const struct ads_server_options *o = &c->server->o;

    if (!c->caller_ns) {
        return true; /* nobody looked at the credential */
    }
    return o->is_gateway ? o->is_gateway(o->arg, ns, gateway, c->caller_account)
                         : strcmp(gateway, c->caller_account) == 0;
}

/* Which gateway it serves: the one it names, of the namespace that its credential is of. */
static void find_gateway(struct ads_stream *c)
{
    AUTO(strbuf) struct strbuf ns = {0};
    AUTO(strbuf) struct strbuf prefix = {0};
    const char *name = c->node.gateway ? c->node.gateway : "";
    struct slice said = said_namespace(&c->node);

    strbuf_add(&ns, said.p, said.len);
    if (slice_has_prefix(slice_of(c->node.id), "waypoint~") && *name && !strchr(name, '/') &&
        acts_for(c, strbuf_text(&ns), name)) {
        strbuf_printf(&prefix, "%s/%s/", strbuf_text(&ns), name);
        c->gateway = strbuf_take(&prefix);
    }
}

/* False: the stream has ended. */
static bool greet(struct ads_stream *c)
{
    AUTO(strbuf) struct strbuf text = {0};
    const struct ads_node *n = &c->request.node;

    if (!n->id || !*n->id) {
        strbuf_puts(&text, "missing node information");
    } else if (count_parts(n->id) < 4) {
        strbuf_printf(&text, "missing parts in the service node \"%s\"", n->id);
    } else if (!is_known_type(n->id)) {
        strbuf_printf(&text,
                      "invalid node type (valid types: [sidecar router waypoint ztunnel]) in the "
                      "service node \"%s\"",
                      n->id);
    } else if (!is_who_it_says(c, n)) {
        refuse_stranger(c, n);
        return false;
    }
    if (text.len > 0) {
        end(c, GRPC_INVALID_ARGUMENT, strbuf_text(&text));
        return false;
    }
    c->node = *n;
    c->request.node = (struct ads_node){.id = NULL};
    find_gateway(c);
    enter(c, STREAM_OPEN);
    return true;
}

/* ---- requests */

/* Whether the first request of a type wants all there is (contract 5.4). */
static enum watch_mode first_mode(const struct ads_request *q)
{
    bool star = name_set_has(&q->subscribe, slice_of("*"));
    bool not_star = name_set_has(&q->unsubscribe, slice_of("*"));

    if (q->type != ADS_ADDRESS) {
        return WATCH_ALL; /* by whatever name: a policy that is not sent is not enforced */
    }
    return (q->subscribe.by_name.count == 0 && !not_star) || (star && !not_star) ? WATCH_ALL
                                                                                 : WATCH_NAMES;
}

/* Leaves in the request what is new. True: something changed. */
static bool apply_names(struct ads_watch *w, struct ads_request *q)
{
    bool changed = false;

    name_set_for_each(n, &q->unsubscribe)
    {
        const struct name_item *i = container_of(n, struct name_item, by_name);
        changed |= name_set_remove(&w->names, (struct slice){i->name, i->len});
    }
    name_set_for_each(n, &q->subscribe)
    {
        const struct name_item *i = container_of(n, struct name_item, by_name);
        struct slice name = {i->name, i->len};
        if (name_set_has(&w->names, name)) {
            (void)name_set_remove(&q->subscribe, name); /* it was just found there */
        } else {
            changed = true;
        }
    }
    return changed;
}

/* A later request of a type: true if it wants an answer. */
static bool is_change(struct ads_watch *w, struct ads_request *q)
{
    bool star = name_set_has(&q->subscribe, slice_of("*"));

    if (w->mode == WATCH_NAMES && star) {
        w->mode = WATCH_ALL;
        name_set_fini(&w->names);
        return true;
    }
    if (w->mode == WATCH_NAMES) {
        return apply_names(w, q);
    }
    return q->subscribe.by_name.count > 0 || q->unsubscribe.by_name.count > 0;
}

static void count_reject(struct ads_stream *c)
{
    struct ads_server_stats *s = &c->server->stats;

    s->rejects[c->request.type]++;
    diag_note(&s->last_reject, -ERR_SYNTAX, "%s: %s", c->node.id, c->request.error);
}

/* True: an answer is due. */
static bool handle(struct ads_stream *c)
{
    struct ads_request *q = &c->request;

    if (q->type == ADS_UNKNOWN) { /* answered once; what comes with a nonce is about that answer */
        return !q->nonce || !*q->nonce;
    }
    struct ads_watch *w = &c->watch[q->type];
    if (q->nonce && *q->nonce && strcmp(q->nonce, w->nonce) == 0) {
        w->is_answered = true;
        w->answered = w->heard;
    }
    if (q->error) {
        count_reject(c);
        return false;
    }
    if (w->mode == WATCH_NONE) { /* whatever its nonce: it may be from another life */
        w->mode = first_mode(q);
        return true;
    }
    if (q->nonce && *q->nonce && strcmp(q->nonce, w->nonce) != 0) {
        return false; /* about a response that is not the last one */
    }
    return is_change(w, q);
}

/* 1: a request is complete; -EAGAIN; else the stream is over. */
static int read_message(struct ads_stream *c, struct diag *why)
{
    struct iovec v;
    uint32_t len;
    int r;

    if (!c->is_reading) {
        r = grpc_call_next(c->call, &len);
        if (r != 1) {
            return r == 0 ? -ERR_CANCELLED : r;
        }
        ads_request_init(&c->request, c->server->readable);
        c->is_reading = true;
    }
    while ((r = grpc_call_peek(c->call, &v, 1)) > 0) {
        int x = ads_request_feed(&c->request, v.iov_base, v.iov_len, why);
        grpc_call_skip(c->call, v.iov_len);
        if (x < 0) {
            return x;
        }
    }
    return r < 0 ? r : ads_request_end(&c->request, why) < 0 ? why->code : 1;
}

static void end_for(struct ads_stream *c, int r, const struct diag *why)
{
    if (r == -ERR_CANCELLED) {
        end(c, GRPC_OK, NULL); /* the client has said all it wanted to say */
    } else if (why->code == r) {
        end(c, r == -ERR_LIMIT ? GRPC_RESOURCE_EXHAUSTED : GRPC_INVALID_ARGUMENT, why->text);
    } else {
        end(c, GRPC_UNAVAILABLE, NULL); /* the connection is lost */
    }
}

static void forget_request(struct ads_stream *c)
{
    ads_request_fini(&c->request);
    c->is_reading = false;
    c->has_asked = false;
}

/* 0: a request was taken in (or the stream has ended); -EAGAIN. */
static int step_read(struct ads_stream *c)
{
    struct diag why = {0};
    int r = read_message(c, &why);

    if (r == -EAGAIN) {
        return r;
    }
    if (r < 0) {
        end_for(c, r, &why);
        return 0;
    }
    if (c->step == STREAM_FIRST && !greet(c)) {
        return 0;
    }
    c->has_asked = handle(c);
    if (!c->has_asked) {
        forget_request(c);
    }
    return 0;
}

/* ---- responses */

/* Its first request was answered. */
static bool is_told(const struct ads_watch *w)
{
    return w->mode != WATCH_NONE && w->nonce[0] != '\0';
}

static bool is_too_far(const struct ads_stream *c, enum ads_type t)
{
    const struct ads_watch *w = &c->watch[t];

    return is_told(w) && w->heard < catalog_floor(c->server->catalogs[t]);
}

/* What is served no more goes before its policies and routes do, which are pushed first: each push is in
 * force at once. */
static bool withdraw(struct ads_stream *c)
{
    return c->gateway && is_told(&c->watch[ADS_L7_BINDING]) &&
           ads_withdrawal_build(c, ADS_L7_BINDING);
}

/* A policy that is in force for a namespace or for all goes before the addresses, which may have named it
 * until now. */
static bool put_in_force(struct ads_stream *c, enum ads_type next)
{
    return next == ADS_ADDRESS && is_told(&c->watch[ADS_AUTHORIZATION]) && ads_scoped_build(c);
}

/* What of a type is not told up to `due`. 0: something is to be sent; 1: nothing is; -EAGAIN. */
static int push(struct ads_stream *c, enum ads_type t, uint64_t due)
{
    const struct ads_watch *w = &c->watch[t];

    if (w->mode == WATCH_NONE || w->heard >= due) {
        return 1;
    }
    if (is_too_far(c, t) || is_too_far(c, ADS_AUTHORIZATION) || is_too_far(c, ADS_L7_BINDING)) {
        cut(c, GRPC_UNAVAILABLE, "too far behind: come back with what you have");
        return 0;
    }
    if (!ads_server_may_build(c->server, c)) {
        return -EAGAIN;
    }
    return withdraw(c) || put_in_force(c, t) || ads_push_build(c, t) ? 0 : 1;
}

/* As push(). Address first: a policy that is named and not there yet is waited for by those who name it. */
static int step_push(struct ads_stream *c)
{
    const uint64_t *due = c->gateway ? c->server->ahead : c->server->published;
    int r = 1;

    for (unsigned t = 0; r == 1 && t < ADS_TYPES; t++) {
        r = push(c, (enum ads_type)t, due[t]);
    }
    return r;
}

/* As push(): the first answer about bindings has those of this moment, and their policies and routes may
 * be newer than the answers that told of these. */
static int step_catch_up(struct ads_stream *c)
{
    int r = 1;

    for (unsigned t = ADS_L7_POLICY; r == 1 && t < ADS_L7_BINDING; t++) {
        r = push(c, (enum ads_type)t, catalog_seq(c->server->catalogs[t]));
    }
    return r;
}

/* -EAGAIN: woken when others have sent theirs. */
static int step_answer(struct ads_stream *c)
{
    int r = c->request.type == ADS_L7_BINDING ? step_catch_up(c) : 1;

    if (r < 1) {
        return r;
    }
    if (!ads_server_may_build(c->server, c)) {
        return -EAGAIN;
    }
    if (c->request.type == ADS_UNKNOWN) {
        ads_answer_unknown(c);
    } else {
        (void)ads_answer_build(c); /* an answer always has something to send, if only its nonce */
    }
    forget_request(c);
    return 0;
}

static int step_send(struct ads_stream *c)
{
    if (c->out.overflow) {
        cut(c, GRPC_RESOURCE_EXHAUSTED, "the mesh is larger than one response may be");
        return 0;
    }
    if (c->counted == 0) {
        c->counted = c->out.len;
        c->server->stats.buffered += c->counted;
        timer_set(&c->limit, &c->task, ADS_SEND_MS);
    }
    int r = grpc_call_send(c->call, c->out.p, c->out.len);
    if (r == -EAGAIN) {
        return r;
    }
    timer_clear(&c->limit);
    ads_server_release(c->server, c->counted);
    c->counted = 0;
    strbuf_fini(&c->out);
    c->is_sending = false;
    if (r < 0) {
        end(c, GRPC_UNAVAILABLE, NULL);
    }
    return 0;
}

static int step(struct ads_stream *c)
{
    if (c->is_sending) {
        return step_send(c);
    }
    if (c->has_asked) {
        return step_answer(c);
    }
    int read = step_read(c);
    if (read == 0) {
        return 0;
    }
    return step_push(c) == 0 ? 0 : read;
}

static void run(struct task *t, unsigned why)
{
    struct ads_stream *c = container_of(t, struct ads_stream, task);
    int r = 0;

    if ((why & WAKE_TIMER) && timer_is_due(&c->limit)) {
        if (c->step == STREAM_FIRST) {
            cut(c, GRPC_DEADLINE_EXCEEDED, "no request came");
        } else {
            cut(c, GRPC_UNAVAILABLE, "a response was not taken in time");
        }
        return;
    }
    for (unsigned i = 0; r == 0 && i < STREAM_ROUNDS && c->step != STREAM_ENDED; i++) {
        r = step(c);
    }
    if (r == 0 && c->step != STREAM_ENDED) {
        task_wake(t, WAKE_IO);
    }
    if (c->gateway && c->server->is_holding) {
        task_wake(&c->server->task, WAKE_CHILD); /* others may be waiting for just this */
    }
}

/* ---- life */

static char *copy(const char *text)
{
    return text ? mem_strdup(text) : NULL;
}

struct ads_stream *ads_stream_new(struct ads_server *s, struct grpc_call *take_call,
                                  const struct ads_caller *caller)
{
    struct ads_stream *c = mem_new(struct ads_stream);

    c->server = s;
    c->call = take_call;
    c->caller_ns = copy(caller->ns);
    c->is_proxy = caller->is_proxy;
    c->caller_account = copy(caller->account ? caller->account : "");
    c->caller_identity = copy(caller->identity ? caller->identity : "");
    list_init(&c->waiting);
    list_append(&s->streams, &c->in_server);
    task_init(&c->task, s->loop, "discovery stream", run);
    grpc_call_own(take_call, &c->task);
    timer_set(&c->limit, &c->task, ADS_FIRST_MS);
    task_wake(&c->task, WAKE_START);
    return c;
}

void ads_stream_free(struct ads_stream *c)
{
    ads_server_release(c->server, c->counted);
    timer_clear(&c->limit);
    if (c->call) {
        grpc_call_own(c->call, NULL);
        grpc_call_close(c->call);
    }
    if (c->is_reading) {
        ads_request_fini(&c->request);
    }
    for (unsigned t = 0; t < ADS_TYPES; t++) {
        name_set_fini(&c->watch[t].names);
    }
    list_remove(&c->waiting);
    list_remove(&c->in_server);
    ads_node_fini(&c->node);
    mem_free(c->gateway);
    mem_free(c->caller_ns);
    mem_free(c->caller_account);
    mem_free(c->caller_identity);
    strbuf_fini(&c->out);
    task_fini(&c->task);
    mem_free(c);
}
