/* SPDX-License-Identifier: Apache-2.0 */
#include "base/num.h"
#include "waypoint/request_int.h"

/* ---- deadlines: one timer, set only where a rule has one */

static void arm(struct request *q)
{
    const uint64_t all[] = {q->request_due_ms, q->try_due_ms, q->backoff_due_ms};
    uint64_t now = request_now(q);
    uint64_t due = UINT64_MAX;

    for (unsigned i = 0; i < ARRAY_LEN(all); i++) {
        due = all[i] > 0 ? MIN_OF(due, all[i]) : due;
    }
    if (due == UINT64_MAX) {
        timer_clear(&q->timer);
    } else {
        timer_set(&q->timer, &q->task, due > now ? due - now : 0);
    }
}

static bool is_past(const struct request *q, uint64_t due)
{
    return due > 0 && request_now(q) >= due;
}

static void enter(struct request *q, enum request_step next)
{
    q->step = next;
    switch (next) {
    case REQUEST_REPLY:
    case REQUEST_UPGRADED:
    case REQUEST_OVER:
        q->request_due_ms = 0;
        q->try_due_ms = 0;
        q->backoff_due_ms = 0;
        break;
    case REQUEST_HEAD:
    case REQUEST_BODY:
    case REQUEST_LEASE:
    case REQUEST_ENDPOINT:
        q->backoff_due_ms = 0;
        break;
    case REQUEST_START:
    case REQUEST_BACKOFF:
        break;
    }
    if (q->request_due_ms > 0 || q->try_due_ms > 0 || q->backoff_due_ms > 0 ||
        timer_is_armed(&q->timer)) {
        arm(q);
    }
}

/* ---- the end */

static void end_retry(struct request *q)
{
    if (q->retrying) {
        cluster_retry_end(MOVE(q->retrying));
    }
}

static void drop_endpoint(struct request *q)
{
    lease_end(&q->lease);
    if (q->endpoint) {
        upstream_unuse(q->endpoint);
        q->endpoint = NULL;
    }
}

/* The client sees why: 0, or its exchange is cut. */
static void finish(struct request *q, int why)
{
    struct session *s = q->session;

    request_record_end(q);
    exchange_close(MOVE(q->up), why);
    exchange_close(MOVE(q->down), why);
    drop_endpoint(q);
    end_retry(q);
    for (unsigned i = 0; i < q->previous_count; i++) {
        upstream_unuse(q->previous[i]);
    }
    if (q->has_auth) {
        request_auth_fini(&q->auth);
    }
    if (q->has_cors) {
        l7_cors_headers_fini(&q->cors);
    }
    arena_fini(&q->arena);
    held_unref(q->held);
    workload_unref(q->dst);
    timer_clear(&q->timer);
    task_fini(&q->task);
    list_remove(&q->in_session);
    request_recycle(q);
    session_request_gone(s);
}

static void give_up(struct request *q, enum http_flag flag, const char *details, int r)
{
    q->record.flag = flag;
    q->record.details = details;
    finish(q, r);
}

/* ---- answering here */

static int answer(struct request *q)
{
    exchange_close(MOVE(q->up), -ERR_CANCELLED);
    lease_end(&q->lease); /* the endpoint stays: the record names it */
    end_retry(q);
    if (q->retry_refused) {
        q->reply.flag = HTTP_OVERFLOW;
    }
    int r = request_reply_start(q);
    if (r < 0) {
        give_up(q, HTTP_CLIENT_GONE, "downstream_remote_disconnect", r);
        return 1;
    }
    enter(q, REQUEST_REPLY);
    return 0;
}

static int step_reply(struct request *q)
{
    int r = request_reply_move(q);

    if (r == -EAGAIN) {
        return r;
    }
    if (r < 0) {
        q->record.flag = HTTP_CLIENT_GONE;
    }
    finish(q, r);
    return 1;
}

/* ---- tries */

static struct cluster *find_cluster(struct request *q)
{
    struct clusters *all = q->store->engine->clusters;
    const struct entry *e = &q->session->entry;

    if (!q->plan.key) {
        return cluster_of_workload(all, e->workload, &e->destination.ip, e->destination.port,
                                   q->plan.protocol);
    }
    return cluster_of_service(all, q->plan.key, q->plan.port, q->plan.protocol);
}

static void note_endpoint(struct request *q, struct upstream *u)
{
    q->endpoint = u;
    if (q->dst != u->workload) {
        workload_unref(q->dst);
        q->dst = workload_ref(u->workload);
    }
    q->record.upstream_host = u->address;
    q->record.upstream_cluster = q->plan.key;
}

/* It may be sent once more though a server may have acted on it (RFC 9110 9.2.2). */
static bool is_safe_to_repeat(const struct request *q)
{
    static const char *const methods[] = {"GET", "HEAD", "OPTIONS", "PUT", "DELETE"};

    for (size_t i = 0; i < ARRAY_LEN(methods); i++) {
        if (message_is_method(&q->down->in, methods[i])) {
            return q->down->in_over;
        }
    }
    return false;
}

/* The first request of a client on a connection that the server may just have closed: only where it
 * can be sent again. */
static bool needs_fresh(const struct request *q)
{
    return q->session->served == 1 && !is_safe_to_repeat(q);
}

static int overflow(struct request *q)
{
    (void)request_answer(q, 503, HTTP_OVERFLOW, "upstream_reset_before_response_started{overflow}",
                         "upstream connect error or disconnect/reset before headers. reset "
                         "reason: overflow");
    q->reply.overloaded = true;
    return answer(q);
}

static int step_endpoint(struct request *q)
{
    struct cluster_ask ask = {.seed = rand_seq_next(&q->store->engine->random),
                              .tried = q->previous,
                              .tried_count = q->previous_count};
    struct cluster *c = find_cluster(q);

    if (!c) {
        (void)request_answer(q, 500, HTTP_NO_CLUSTER, "cluster_not_found", "");
        return answer(q);
    }
    ask.has_hash = request_hash(q, cluster_traffic(c), &ask.hash);
    struct upstream *u = cluster_pick(c, &ask);
    if (!u) {
        (void)request_answer(q, 503, HTTP_NO_HEALTHY, "no_healthy_upstream", "no healthy upstream");
        return answer(q);
    }
    q->tries++;
    note_endpoint(q, u);
    if (q->plan.route && q->plan.route->backend_timeout_ms > 0) {
        q->try_due_ms = request_now(q) + q->plan.route->backend_timeout_ms;
    }
    int r = lease_start(&q->lease, u, &q->task, needs_fresh(q));
    if (r == -ERR_LIMIT) {
        return overflow(q);
    }
    enter(q, REQUEST_LEASE);
    return 0;
}

static bool changes_protocol(const struct request *q)
{
    return message_get(&q->down->in, MESSAGE_PROTOCOL).len > 0;
}

static void send_head(struct request *q)
{
    /* A request to speak another protocol has no body; what follows the 101 is none either. Trailers an
     * earlier try has read with the end. */
    bool end = changes_protocol(q) ||
               (q->down->in_over && q->replay.len == 0 && q->down->in_trailers.count == 0);

    request_head_up(q);
    q->sent_ms = request_now(q);
    q->up = lease_request(&q->lease, &q->out, end);
    q->up->wants_interim = true;
    stream_own(&q->up->s, &q->task);
    q->body_read |= end;
    q->body_sent = end;
    enter(q, REQUEST_HEAD);
}

/* ---- trying again */

static void note_result(struct request *q, unsigned status)
{
    struct cluster *c = q->endpoint ? find_cluster(q) : NULL;

    if (c) {
        cluster_result(c, q->endpoint, status);
    }
}

/* This try is over: nothing of it is left. */
static void end_try(struct request *q)
{
    exchange_close(MOVE(q->up), -ERR_CANCELLED);
    lease_end(&q->lease);
    if (q->previous_count == PREVIOUS_MAX) {
        upstream_unuse(q->previous[--q->previous_count]);
    }
    q->previous[q->previous_count++] = MOVE(q->endpoint); /* the record names the last one */
    q->try_due_ms = 0;
}

static uint64_t backoff(struct request *q)
{
    const struct l7_route *route = q->plan.route;
    uint64_t seed = rand_seq_next(&q->store->engine->random);

    return route && route->retry.set ? l7_retry_backoff_ms(&route->retry, q->tries, seed)
                                     : seed % 25;
}

static void try_again(struct request *q)
{
    q->plan.retries--;
    q->store->counts.retried++;
    request_body_rewind(q);
    end_try(q);
    q->backoff_due_ms = request_now(q) + backoff(q);
    enter(q, REQUEST_BACKOFF);
}

/* Asked last: it counts. */
static bool may_repeat(struct request *q)
{
    if (q->plan.retries == 0 || q->head_sent || !q->keeps || changes_protocol(q)) {
        return false;
    }
    struct cluster *c = find_cluster(q);
    end_retry(q);
    if (!c || !cluster_retry_begin(c)) {
        q->retry_refused = c != NULL;
        return false;
    }
    q->retrying = c;
    return true;
}

/* Whether a request that failed without a response may be sent once more. */
static bool failure_repeats(struct request *q, int r)
{
    const struct exchange *x = q->up;

    if (q->lease.status == 401) { /* a policy's refusal: the same identity would be refused again */
        return false;
    }
    if (!x || x->reach == EXCHANGE_UNSENT) {
        return true;
    }
    if (x->reused && x->reach == EXCHANGE_SENT && r == -ECONNRESET) {
        /* The server closed an idle connection just then. */
        return is_safe_to_repeat(q) || !q->plan.default_retries;
    }
    return !q->plan.default_retries && x->reach == EXCHANGE_SENT;
}

static int step_backoff(struct request *q)
{
    if (is_past(q, q->request_due_ms)) {
        (void)request_answer(q, 504, HTTP_UPSTREAM_TIMEOUT, "response_timeout",
                             "upstream request timeout");
        return answer(q);
    }
    if (!is_past(q, q->backoff_due_ms)) {
        return -EAGAIN;
    }
    q->backoff_due_ms = 0;
    enter(q, REQUEST_ENDPOINT);
    return 0;
}

/* A try failed without a response. */
static int try_failed(struct request *q, int r, const struct diag *why)
{
    bool refused = q->lease.status == 401;

    note_result(q, 0);
    if (failure_repeats(q, r) && may_repeat(q)) {
        try_again(q);
        return 0;
    }
    (void)request_answer_failure(q, r, why);
    if (q->plan.fell_back && q->up) {
        (void)request_answer(q, 502, HTTP_PROTOCOL_ERROR, "upgrade_not_offered_by_upstream",
                             "the server offers no change of protocol, neither over HTTP/2 (RFC "
                             "8441) nor over HTTP/1.1");
    }
    if (refused) {
        q->record.failure = "upstream L4 policy denied";
        q->reply.details = "upstream_l4_policy_denied";
    }
    return answer(q);
}

static int try_timed_out(struct request *q)
{
    bool whole = is_past(q, q->request_due_ms);

    note_result(q, 0);
    if (!whole && q->plan.route && q->plan.route->retry.set && may_repeat(q)) {
        try_again(q);
        return 0;
    }
    (void)request_answer(q, 504, HTTP_UPSTREAM_TIMEOUT,
                         whole ? "response_timeout" : "upstream_per_try_timeout",
                         "upstream request timeout");
    return answer(q);
}

/* ---- waiting for a connection, and for the response */

/* Servers that speak HTTP/2 with prior knowledge often take WebSocket over HTTP/1.1 only, on the same
 * port. */
static void fall_back(struct request *q)
{
    end_try(q);
    q->tries--;
    q->plan.protocol = UPSTREAM_H1;
    q->plan.fell_back = true;
    enter(q, REQUEST_ENDPOINT);
}

static int step_lease(struct request *q)
{
    int r = lease_result(&q->lease);

    if (r == 0 && changes_protocol(q)) {
        r = lease_upgrades(&q->lease, &q->task);
        if (r == -ERR_UNSUPPORTED) {
            fall_back(q);
            return 0;
        }
    }
    if (r == 0) {
        send_head(q);
        return 0;
    }
    if (r == -EAGAIN && (is_past(q, q->request_due_ms) || is_past(q, q->try_due_ms))) {
        return try_timed_out(q);
    }
    if (r == -EAGAIN) {
        return r;
    }
    struct diag why = q->lease.error;
    return try_failed(q, r, &why);
}

/* Moves the client's body. 0, or 1: q is gone. */
static int move_up(struct request *q)
{
    enum request_side side = SIDE_SERVER;
    int r = request_body_move(q, &side);

    if (r == 1) {
        task_wake(&q->task, WAKE_IO);
    }
    if (r >= 0 || r == -EAGAIN) {
        return 0;
    }
    if (side == SIDE_CLIENT) {
        give_up(q, HTTP_CLIENT_GONE, "downstream_remote_disconnect", r);
        return 1;
    }
    q->body_given_up = true; /* the server may have answered all the same */
    return 0;
}

static int pass_interim(struct request *q)
{
    if (q->up->in.status != 100 || q->down->expects_continue) {
        request_head_down(q, &q->up->in);
        if (exchange_send(q->down, &q->out) < 0) {
            return -ERR_CANCELLED;
        }
    }
    return 0;
}

static bool wants_retry(struct request *q)
{
    const struct l7_route *route = q->plan.route;

    return route && route->retry.set && l7_retries_status(&route->retry, q->up->in.status) &&
           may_repeat(q);
}

/* The client gets a response that the rule would have had tried once more. */
static bool is_exhausted(const struct request *q)
{
    const struct l7_route *route = q->plan.route;

    return route && route->retry.set && q->tries > 1 && q->plan.retries == 0 &&
           l7_retries_status(&route->retry, q->up->in.status);
}

static void note_grpc(struct request *q, const struct message *m)
{
    struct slice v;
    uint32_t n = 0;

    if (q->grpc && message_find(m, "grpc-status", &v) && num_parse_u32(v.p, v.len, 999, &n) == 0) {
        q->record.grpc_status = (int)n;
    }
}

/* Both ends speak another protocol from here on. The relay takes them; the record keeps what it needs
 * of the client's head. */
static void start_upgrade(struct request *q)
{
    struct message *in = &q->down->in;

    enter(q, REQUEST_UPGRADED);
    message_clear(&q->spare);
    message_take(&q->spare, in);
    relay_start(&q->relay, &q->down->s, &q->up->s, &q->task);
    q->down = NULL;
    q->up = NULL;
}

static void end_upgraded(struct request *q, int r)
{
    struct relay_stats moved = relay_stats(&q->relay);

    q->record.received_bytes += moved.sent;
    q->record.sent_bytes += moved.received;
    relay_close(&q->relay, r);
    finish(q, 0);
}

static void step_upgraded(struct request *q)
{
    int r = relay_run(&q->relay, &q->task);

    if (r != -EAGAIN) {
        end_upgraded(q, r);
    }
}

/* The response's head is here and goes on. */
static int start_response(struct request *q)
{
    struct exchange *up = q->up;

    note_result(q, up->in.status);
    q->record.upstream_ms = (int64_t)(request_now(q) - q->sent_ms);
    q->record.response_head_bytes = message_cost(&up->in);
    note_grpc(q, &up->in);
    q->try_due_ms = 0;
    request_head_down(q, &up->in);
    int r = exchange_send(q->down, &q->out);
    if (r < 0) {
        q->record.termination =
            stream_diag(&q->down->s)->code == r ? "response_head_refused" : NULL;
        give_up(q, HTTP_CLIENT_GONE, "downstream_remote_disconnect", r);
        return 1;
    }
    q->head_sent = true;
    end_retry(q);
    q->record.status = up->in.status;
    q->record.details = "via_upstream";
    q->record.flag = q->retry_refused  ? HTTP_OVERFLOW
                     : is_exhausted(q) ? HTTP_RETRIES_EXHAUSTED
                                       : HTTP_FLAG_NONE;
    if (up->in.status == 101) {
        start_upgrade(q);
        return 1;
    }
    if (!mirrors_wanted(q)) {
        request_body_forget(q);
    }
    q->moved.messages = q->grpc ? &q->messages_down : NULL;
    enter(q, REQUEST_BODY);
    return 0;
}

static int head_failed(struct request *q, int r)
{
    struct diag why = *stream_diag(&q->up->s);

    return try_failed(q, r, &why);
}

static int step_head(struct request *q)
{
    if (is_past(q, q->request_due_ms) || is_past(q, q->try_due_ms)) {
        return try_timed_out(q);
    }
    if (move_up(q) != 0) {
        return 1;
    }
    if (q->body_read || q->body_given_up) {
        mirrors_send(q);
    }
    int r = exchange_head(q->up);
    if (r == 1) {
        r = pass_interim(q);
        if (r < 0) {
            give_up(q, HTTP_CLIENT_GONE, "downstream_remote_disconnect", r);
            return 1;
        }
        return 0;
    }
    if (r == -EAGAIN) {
        return r;
    }
    if (r < 0) {
        return head_failed(q, r);
    }
    if (wants_retry(q)) {
        note_result(q, q->up->in.status);
        try_again(q);
        return 0;
    }
    return start_response(q);
}

/* ---- the response's body */

static int response_broke(struct request *q, int r)
{
    if (q->moved.broken == q->down) {
        give_up(q, HTTP_CLIENT_GONE, "downstream_remote_disconnect", r);
    } else {
        give_up(q, r == -ERR_H2_RESET ? HTTP_REMOTE_RESET : HTTP_CONNECTION_ENDED,
                "upstream_reset_after_response_started", surely_negative(r));
    }
    return 1;
}

static int step_body(struct request *q)
{
    if (is_past(q, q->request_due_ms)) {
        give_up(q, HTTP_UPSTREAM_TIMEOUT, "response_timeout", -ERR_DEADLINE);
        return 1;
    }
    if (!q->body_sent && move_up(q) != 0) {
        return 1;
    }
    uint64_t before = q->moved.bytes;
    int r = exchange_move(q->up, q->down, MOVE_BUDGET, &q->moved);
    if (q->moved.bytes != before) {
        q->moved_ms = request_now(q);
    }
    if (r == 1) {
        task_wake(&q->task, WAKE_IO);
        return -EAGAIN;
    }
    if (r == -EAGAIN) {
        /* What has been accepted goes out before we wait for more of a slow response. */
        r = stream_flush(&q->down->s);
        if (r < 0 && r != -EAGAIN) {
            q->moved.broken = q->down;
            return response_broke(q, r);
        }
        return -EAGAIN;
    }
    if (r < 0) {
        return response_broke(q, r);
    }
    note_grpc(q, &q->up->in_trailers);
    mirrors_send(q);
    finish(q, 0);
    return 1;
}

/* ---- from the start */

static int step_start(struct request *q)
{
    int r = request_judge(q);

    if (r > 0) {
        return answer(q);
    }
    const struct l7_route *route = q->plan.route;
    if (route && route->request_timeout_ms > 0) {
        q->request_due_ms = request_now(q) + route->request_timeout_ms;
    }
    q->keeps = true; /* until there is too much of it */
    enter(q, REQUEST_ENDPOINT);
    return 0;
}

/* 0 to go on, -EAGAIN to wait, 1 when q is gone or not its own any more. */
static int step(struct request *q)
{
    switch (q->step) {
    case REQUEST_START:
        return step_start(q);
    case REQUEST_ENDPOINT:
        return step_endpoint(q);
    case REQUEST_LEASE:
        return step_lease(q);
    case REQUEST_HEAD:
        return step_head(q);
    case REQUEST_BODY:
        return step_body(q);
    case REQUEST_BACKOFF:
        return step_backoff(q);
    case REQUEST_REPLY:
        return step_reply(q);
    case REQUEST_UPGRADED:
    case REQUEST_OVER:
        break;
    }
    return -EAGAIN;
}

/* Between tries and before a response nobody reads from the client: whether it is still there is
 * asked. */
static bool client_is_gone(struct request *q)
{
    if (q->step != REQUEST_LEASE && q->step != REQUEST_BACKOFF && q->step != REQUEST_HEAD) {
        return false;
    }
    int r = stream_flush(&q->down->s);
    return r < 0 && r != -EAGAIN;
}

static void answer_instead(struct request *q)
{
    q->abort = 0;
    q->denied = false;
    if (answer(q) == 0) {
        while (step(q) == 0) {
        }
    }
}

/* A client of gRPC hears why, unless that would stand in the middle of a message. */
static bool end_grpc(struct request *q)
{
    if (!q->grpc || q->step != REQUEST_BODY || q->down->version != EXCHANGE_HTTP2 ||
        q->messages_down.front > 0) {
        return false;
    }
    request_head_trailers(q);
    return exchange_finish(q->down, &q->out) == 0;
}

/* Policy let it in and does not any more: q->reply is what it would be answered now. */
static void denied(struct request *q)
{
    q->store->engine->policy_cuts++;
    if (!q->head_sent) {
        answer_instead(q);
        return;
    }
    q->record.flag = HTTP_DENIED;
    q->record.details = q->reply.details;
    q->record.termination = "connection_closed_due_to_policy_change"; /* as of TCP, in one word */
    if (q->step == REQUEST_UPGRADED) {
        end_upgraded(q, -ERR_POLICY_CHANGED);
    } else {
        finish(q, end_grpc(q) ? 0 : -ERR_POLICY_CHANGED);
    }
}

static void aborted(struct request *q)
{
    if (q->abort == -ERR_DEADLINE && !q->head_sent && q->step != REQUEST_REPLY) {
        (void)request_answer(q, 408, HTTP_IDLE_TIMEOUT, "stream_idle_timeout", "stream timeout");
        answer_instead(q);
        return;
    }
    give_up(q, q->abort == -ERR_DEADLINE ? HTTP_IDLE_TIMEOUT : HTTP_CLIENT_GONE,
            q->abort == -ERR_DEADLINE ? "stream_idle_timeout" : "downstream_local_disconnect",
            q->abort);
}

static void advance(struct request *q)
{
    if (q->denied) {
        denied(q);
        return;
    }
    if (q->step == REQUEST_UPGRADED) {
        step_upgraded(q); /* an abort reaches it through its legs */
        return;
    }
    if (q->abort < 0) {
        aborted(q);
        return;
    }
    if (client_is_gone(q)) {
        give_up(q, HTTP_CLIENT_GONE, "downstream_remote_disconnect", -ERR_CANCELLED);
        return;
    }
    while (step(q) == 0) {
    }
}

static void run(struct task *t, unsigned why)
{
    (void)why; /* every wake is a hint */
    advance(container_of(t, struct request, task));
}

void request_open(struct session *s, struct exchange *take_x)
{
    struct request *q = request_make(s->entry.engine->requests);

    task_init(&q->task, s->entry.engine->loop, "request", run);
    q->session = s;
    q->down = take_x;
    q->held = held_ref(session_held(s));
    request_record_start(&q->record, s, take_x->version);
    q->moved_ms = request_now(q);
    list_append(&s->requests, &q->in_session);
    stream_own(&take_x->s, &q->task);
    advance(q); /* at once: the head is whole, and most requests only wait for the server */
}

void requests_abort(struct session *s, int why)
{
    list_for_each (n, &s->requests) {
        struct request *q = container_of(n, struct request, in_session);
        q->abort = surely_negative(why);
        task_wake(&q->task, WAKE_DRAIN);
    }
}

/* It was let in, and there is something left of it to end. */
static bool is_under_way(const struct request *q)
{
    switch (q->step) {
    case REQUEST_ENDPOINT:
    case REQUEST_LEASE:
    case REQUEST_HEAD:
    case REQUEST_BODY:
    case REQUEST_BACKOFF:
    case REQUEST_UPGRADED:
        return !q->denied && q->abort == 0;
    case REQUEST_START:
    case REQUEST_REPLY:
    case REQUEST_OVER:
        break;
    }
    return false;
}

static void deny(struct request *q)
{
    q->denied = true;
    task_wake(&q->task, WAKE_CONFIG);
}

void requests_deny(struct session *s)
{
    list_for_each (n, &s->requests) {
        struct request *q = container_of(n, struct request, in_session);
        if (is_under_way(q)) {
            (void)request_refuse_guarded(q); /* 1: it is answered */
            deny(q);
        }
    }
}

unsigned requests_reconsider(struct session *s)
{
    const struct l7_service *judges = entry_judges(&s->entry);
    uint64_t generation = l7_policy_generation(engine_l7(s->entry.engine));
    unsigned judged = 0;

    list_for_each (n, &s->requests) {
        struct request *q = container_of(n, struct request, in_session);
        if (q->policy_generation == generation || !is_under_way(q)) {
            continue;
        }
        judged++;
        if (request_judge_again(q, judges) != 0) {
            deny(q);
        }
    }
    return judged;
}

void requests_look_at_clock(struct session *s)
{
    list_for_each (n, &s->requests) {
        struct request *q = container_of(n, struct request, in_session);
        if (q->grpc) {
            request_record_messages(q);
        }
        if (q->step != REQUEST_UPGRADED && request_now(q) - q->moved_ms > IDLE_LIMIT_MS) {
            q->abort = -ERR_DEADLINE;
            task_wake(&q->task, WAKE_TIMER);
        }
    }
}
