/* SPDX-License-Identifier: Apache-2.0 */
#include "waypoint/passage.h"

#include <stdio.h>
#include <string.h>

#include "base/arena.h"
#include "base/mem.h"
#include "io/relay.h"
#include "model/l7_apply.h"
#include "model/l7_authz.h"
#include "waypoint/cluster.h"

enum passage_step {
    PASSAGE_START,
    PASSAGE_CONNECT, /* to an endpoint */
    PASSAGE_RELAY
};

struct passage {
    struct entry entry;
    struct task task;
    struct timer limit;
    struct host_wait wait;
    enum passage_step step;
    struct hbone_request *request; /* NULL once answered */
    struct stream *near;           /* NULL before, and once the relay has it */
    struct stream *far;
    struct upstream *upstream; /* the one of tried that it goes to; NULL: none */
    struct upstream *tried[PASSAGE_TRIES];
    unsigned tries;
    char backend_key[256];
    uint16_t backend_port;
    struct relay relay;
    struct access access;
    struct access_facts facts;
    struct arena notes;            /* texts of the record */
    const struct service *service; /* counted: of the record, like the next */
    const struct workload *dst;
    uint64_t policy_generation;
    int abort;
};

static void enter(struct passage *p, enum passage_step next)
{
    p->step = next;
    timer_clear(&p->limit);
    if (next == PASSAGE_CONNECT) {
        timer_set(&p->limit, &p->task, upstream_connect_ms(p->upstream));
    }
}

static void leave_upstream(struct passage *p)
{
    if (p->upstream) {
        p->upstream->in_flight--;
        p->upstream = NULL;
    }
}

static void passage_free(struct passage *p)
{
    timer_clear(&p->limit);
    host_wait_stop(&p->wait);
    task_fini(&p->task);
    stream_close(p->near, -ERR_CANCELLED);
    stream_close(p->far, -ERR_CANCELLED);
    relay_close(&p->relay, -ERR_CANCELLED);
    leave_upstream(p);
    for (unsigned i = 0; i < p->tries; i++) {
        upstream_unuse(p->tried[i]);
    }
    service_unref(p->service);
    workload_unref(p->dst);
    arena_fini(&p->notes);
    entry_stop(&p->entry);
    mem_free(p);
}

/* ---- the record */

static void access_fill(struct passage *p)
{
    struct access_facts *a = &p->facts;

    a->reporter = ACCESS_WAYPOINT;
    a->mutual_tls = p->entry.peer != NULL;
    a->src_addr = p->entry.client;
    a->dst_addr = p->entry.destination;
    entry_sides(&p->entry, &a->src);
    p->service = service_ref(p->entry.service);
    if (p->service) {
        a->service = p->service->hostname;
        a->service_name = p->service->name;
        a->service_namespace = p->service->ns;
    }
}

static void access_destination(struct passage *p, const struct workload *w)
{
    workload_unref(p->dst);
    p->dst = workload_ref(w); /* its endpoint may be told of anew */
    side_from_workload(&p->facts.dst, w);
    p->facts.dst.principal = w->identity->uri;
    p->facts.dst.identity = w->identity->uri;
    p->facts.located = true;
    p->facts.dst_addr = p->upstream->at;
}

static void tell(const struct access *a, struct access_facts *out)
{
    *out = container_of((struct access *)(uintptr_t)a, struct passage, access)->facts;
}

/* The answer, the record and the connection end together. */
static void refuse(struct passage *p, unsigned status, int r, const char *error)
{
    if (!p->access.recorder) {
        access_open(&p->access, p->entry.engine->recorder, tell);
    }
    access_end(&p->access, access_flag_of(r), r, error);
    if (p->request) {
        hbone_request_refuse(p->request, status);
        p->request = NULL;
    }
    struct stream *near = p->near;
    p->near = NULL;
    stream_close(near, r);
    passage_free(p);
}

/* ---- policy */

static struct l7_authz judge(struct passage *p)
{
    const struct l7 *l7 = engine_l7(p->entry.engine);
    const struct l7_service *judges = entry_judges(&p->entry);
    struct l7_conn conn = entry_conn(&p->entry);

    p->policy_generation = l7_policy_generation(l7);
    if (p->entry.protocol == L7_UNKNOWN && l7_asks_for_tokens(l7, judges)) {
        return (struct l7_authz){.reason = L7_TOKEN_HIDDEN};
    }
    return l7_authorize_tcp(l7, judges, &conn);
}

/* ---- an endpoint */

static struct cluster *find_cluster(struct passage *p)
{
    struct clusters *all = p->entry.engine->clusters;

    if (p->entry.workload) {
        return cluster_of_workload(all, p->entry.workload, &p->entry.destination.ip,
                                   p->entry.destination.port, UPSTREAM_H1);
    }
    return cluster_of_service(all, p->backend_key, p->backend_port, UPSTREAM_H1);
}

/* The backend that a TCPRoute draws, else the service itself. NULL, or why there is none. */
static const char *draw_backend(struct passage *p)
{
    const struct l7_service *bound = entry_bound(&p->entry);
    const struct l7_port *port = bound ? l7_service_port(bound, p->entry.destination.port) : NULL;
    const struct l7_route *tcp = port ? l7_port_rules(port, p->entry.peer).tcp : NULL;
    const struct l7_backend *backend = NULL;
    const char *key = p->entry.service ? p->entry.service->key : "";

    p->backend_port = p->entry.destination.port;
    if (tcp) {
        if (l7_pick_backend(tcp, rand_seq_next(&p->entry.engine->random), &backend) !=
            L7_FOLLOWED) {
            return "the route has no valid backend";
        }
        key = backend->key;
        p->backend_port = backend->port;
    }
    if (strlen(key) >= sizeof(p->backend_key)) {
        return "the backend's name is too long";
    }
    (void)snprintf(p->backend_key, sizeof(p->backend_key), "%s", key); /* fits: just checked */
    return NULL;
}

/* NULL, or why there is none. */
static const char *pick(struct passage *p)
{
    struct cluster_ask ask = {.seed = rand_seq_next(&p->entry.engine->random),
                              .tried = p->tried,
                              .tried_count = p->tries};
    struct cluster *c = find_cluster(p);
    struct upstream *u = c ? cluster_pick(c, &ask) : NULL;

    if (!u) {
        return "no healthy upstream";
    }
    const char *why = NULL;
    for (unsigned i = 0; i < p->tries; i++) {
        why = p->tried[i] == u ? "no healthy upstream" : why; /* nobody new is left */
    }
    if (!why && !upstream_takes_connection(u)) {
        why = "overflow: the endpoint has as many connections as maxConnections allows";
    }
    if (why) {
        upstream_unuse(u);
        return why;
    }
    u->in_flight++;
    p->tried[p->tries++] = u;
    p->upstream = u;
    access_destination(p, u->workload);
    enter(p, PASSAGE_CONNECT);
    return NULL;
}

/* A connection that comes about is what a good answer is to a request; one that does not, a bad one. */
static void note_result(struct passage *p, unsigned status)
{
    struct cluster *c = find_cluster(p);

    if (c) {
        cluster_result(c, p->upstream, status);
    }
}

/* ---- steps: 0 to go on, -EAGAIN to wait, 1 when p is gone or the relay has it */

static int step_start(struct passage *p)
{
    struct l7_authz v = judge(p);
    char text[L7_AUTHZ_TEXT];

    access_fill(p);
    /* It was bound when the client came, who may have taken a while to say what it speaks. */
    if (entry_is_unbound(&p->entry)) {
        refuse(p, 503, -ERR_NOT_FOUND, "the service is not bound to this waypoint any more");
        return 1;
    }
    policy_notes_take(&p->facts.notes, &v, p->facts.service, p->entry.engine->shard, &p->notes);
    if (!v.allowed) {
        refuse(p, 401, -ERR_DENIED, l7_authz_text(&v, text));
        return 1;
    }
    bool overloaded = engine_is_overloaded(p->entry.engine);
    const char *error = overloaded ? "memory is short" : draw_backend(p);
    p->entry.engine->overloaded += overloaded;
    error = error ? error : pick(p);
    if (error) {
        refuse(p, 503, -ERR_NOT_FOUND, error);
        return 1;
    }
    access_open(&p->access, p->entry.engine->recorder, tell);
    return 0;
}

static void ended(struct passage *p, int result)
{
    struct relay_stats stats = relay_stats(&p->relay);
    struct diag why = relay_why(&p->relay, result);

    access_moved(&p->access, stats.sent, stats.received);
    relay_close(&p->relay, result);
    access_end(&p->access, access_flag_of(result), result, result < 0 ? why.text : NULL);
    passage_free(p);
}

static void start_relay(struct passage *p)
{
    enter(p, PASSAGE_RELAY);
    if (p->request) {
        p->near = hbone_request_accept(MOVE(p->request), (struct slice){NULL, 0});
    }
    relay_start(&p->relay, MOVE(p->near), MOVE(p->far), &p->task);
}

/* (*) To the endpoint; where it is, is asked for first if it is known by name. */
static int dial(struct passage *p, unsigned *out_status, struct diag *why)
{
    struct endpoint at;
    int r = 0;

    *out_status = 0;
    if (!p->far) {
        p->wait.owner = &p->task;
        r = upstream_address(p->upstream, &p->wait, &at, why);
        if (r < 0) {
            return r;
        }
        p->facts.dst_addr = at;
        p->far = upstream_dial(p->entry.engine, p->upstream->workload, &at,
                               upstream_connect_ms(p->upstream));
        stream_own(p->far, &p->task);
    }
    r = upstream_dial_ready(p->far, p->upstream->workload, out_status);
    if (r < 0 && r != -EAGAIN) {
        *why = *stream_diag(p->far);
    }
    return r;
}

static int step_connect(struct passage *p)
{
    struct diag why = {.code = 0};
    unsigned status = 0;
    int r = dial(p, &status, &why);

    if (r == -EAGAIN && timer_is_due(&p->limit)) {
        r = FAIL(&why, -ERR_DEADLINE, "connection timeout");
    }
    if (r == -EAGAIN) {
        return r;
    }
    note_result(p, r == 0 ? 200 : 0);
    if (r == 0) {
        start_relay(p);
        return 1;
    }
    host_wait_stop(&p->wait);
    stream_close(p->far, r);
    p->far = NULL;
    leave_upstream(p);
    /* A refusal by policy is meant for us: the next one would say the same. */
    if (status != 401 && p->tries < PASSAGE_TRIES && !pick(p)) {
        return 0;
    }
    refuse(p, 503, r, status == 401 ? "upstream L4 policy denied" : why.text);
    return 1;
}

static void run(struct task *t, unsigned why)
{
    struct passage *p = container_of(t, struct passage, task);
    int r = 0;

    (void)why; /* every wake is a hint */
    if (p->step == PASSAGE_RELAY) {
        r = p->abort < 0 ? p->abort : relay_run(&p->relay, t);
        if (r != -EAGAIN) {
            ended(p, r);
        }
        return;
    }
    if (p->abort < 0) {
        refuse(p, p->abort == -ERR_POLICY_CHANGED ? 401 : 503, p->abort, err_text(p->abort));
        return;
    }
    while (r == 0) {
        r = p->step == PASSAGE_START ? step_start(p) : step_connect(p);
    }
}

/* ---- as the engine sees it */

static struct passage *of(struct entry *e)
{
    return container_of(e, struct passage, entry);
}

static void entry_abort(struct entry *e, int why)
{
    struct passage *p = of(e);

    e->engine->policy_cuts += why == -ERR_POLICY_CHANGED && p->abort == 0;
    p->abort = surely_negative(why);
    task_wake(&p->task, WAKE_DRAIN);
}

static void entry_drain(struct entry *e)
{
    (void)e; /* may finish */
}

/* A connection that was let in stays in only while policy lets it. */
static unsigned entry_reconsider(struct entry *e)
{
    struct passage *p = of(e);

    if (p->step == PASSAGE_START || p->abort < 0 ||
        p->policy_generation == l7_policy_generation(engine_l7(e->engine))) {
        return 0;
    }
    if (!judge(p).allowed) {
        entry_abort(e, -ERR_POLICY_CHANGED);
    }
    return 1;
}

static void entry_account(struct entry *e)
{
    struct passage *p = of(e);
    struct relay_stats now = relay_stats(&p->relay);

    access_moved(&p->access, now.sent, now.received);
}

static const struct entry_ops passage_ops = {.drain = entry_drain,
                                             .abort = entry_abort,
                                             .reconsider = entry_reconsider,
                                             .account = entry_account};

static struct passage *make(const struct entry *take_facts)
{
    struct passage *p = mem_new(struct passage);

    entry_start(&p->entry, take_facts, &passage_ops);
    task_init(&p->task, p->entry.engine->loop, "passage", run);
    task_wake(&p->task, WAKE_START);
    return p;
}

void passage_open_request(const struct entry *take_facts, struct hbone_request *take_request)
{
    struct passage *p = make(take_facts);

    p->request = take_request;
    hbone_request_own(take_request, &p->task);
}

void passage_open(const struct entry *take_facts, struct stream *take_near)
{
    struct passage *p = make(take_facts);

    p->near = take_near;
    stream_own(take_near, &p->task);
}
