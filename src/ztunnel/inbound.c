/* SPDX-License-Identifier: Apache-2.0 */
#include "ztunnel/inbound.h"

#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "io/sock.h"
#include "io/tcp_stream.h"
#include "model/route.h"

static struct log_scope scope = LOG_SCOPE("rbac");

static void enter(struct inbound_conn *i, enum inbound_step next)
{
    static const uint64_t limit_ms[] = {[IN_SELF] = SELF_WAIT_MS,
                                        [IN_POLICY] = POLICY_HOLD_MS,
                                        [IN_CONNECT] = 0, /* the stream's own */
                                        [IN_PREFACE] = CONNECT_MS};
    struct inbound_opening *x = i->opening;

    x->step = next;
    timer_clear(&x->limit);
    if (limit_ms[next] > 0) {
        timer_set(&x->limit, &i->task, limit_ms[next]);
    }
}

struct inbound_origin *inbound_origin_new(void)
{
    struct inbound_origin *o = mem_new(struct inbound_origin);

    ref_init(&o->refs);
    return o;
}

struct inbound_origin *inbound_origin_ref(struct inbound_origin *o)
{
    ref_get(&o->refs);
    return o;
}

void inbound_origin_unref(struct inbound_origin *o)
{
    if (ref_put(&o->refs)) {
        identity_unref(o->peer);
        mem_free(o);
    }
}

static void opening_free(struct inbound_opening *x)
{
    if (x) {
        pod_wait_stop(&x->wait);
        timer_clear(&x->limit);
        stream_close(x->near, -ERR_CANCELLED);
        stream_close(x->far, -ERR_CANCELLED);
        bytes_fini(&x->preface);
        mem_free(x);
    }
}

static void drop_baggage(struct inbound_conn *i)
{
    if (i->baggage) {
        baggage_side_fini(i->baggage);
        mem_free(MOVE(i->baggage));
    }
}

static void inbound_free(struct inbound_conn *i)
{
    i->front->end(i);
    pod_conn_stop(i->pod, &i->conn);
    opening_free(i->opening);
    relay_close(&i->relay, -ERR_CANCELLED);
    task_fini(&i->task);
    service_unref(i->service);
    workload_unref(i->self);
    workload_unref(i->source);
    inbound_origin_unref(i->from);
    drop_baggage(i);
    mem_free(i->asked_host);
    mem_free(i->forwarded_host);
    mem_free(i);
}

/* Before there is a record: one line, and none of istio's metrics (contract 2.6, 3.5). A status below
 * 500 says that the peer asked for what nobody could give. */
static void refuse_early(struct inbound_conn *i, unsigned status, const char *error)
{
    access_refused(i->pod->plane->recorder, ACCESS_DESTINATION, &i->from->client, &i->from->door,
                   status < 500 ? -ERR_SYNTAX : -ERR_UNAVAILABLE, error);
    i->front->refuse(i, status);
    inbound_free(i);
}

/* ---- the record */

/* Who takes part, for the record. */
static void learn_parties(struct inbound_conn *i)
{
    const struct world *w = plane_world(i->pod->plane);

    if (i->trust_source_ip) {
        i->source =
            workload_ref(world_workload_at(w, i->pod->plane->config->network, &i->from->client.ip));
    }
    if (i->source) {
        drop_baggage(i); /* what it says is not asked for */
    }
    if (!i->service) {
        i->service = service_ref(inbound_service(w, i->self, i->forwarded_host, i->rbac_dst.port));
    }
    if (i->forwarded_host && i->service && strcmp(i->forwarded_host, i->service->hostname) == 0) {
        i->forwarded_service = true;
        mem_free(MOVE(i->forwarded_host)); /* is not kept twice */
    }
}

static void tell(const struct access *a, struct access_facts *out)
{
    const struct inbound_conn *i =
        container_of((struct access *)(uintptr_t)a, struct inbound_conn, access);

    out->reporter = ACCESS_DESTINATION;
    out->mutual_tls = i->from->peer != NULL;
    out->located = true;
    out->src_addr = i->from->client;
    out->dst_addr = i->from->door;
    if (i->from->peer) {
        out->hbone_host = i->asked_host;
        out->hbone_at = (struct endpoint){i->rbac_dst.ip, i->asked_port};
    }
    if (i->baggage) {
        baggage_side_fill(i->baggage, &out->src);
    }
    side_from_workload(&out->src, i->source);
    side_from_workload(&out->dst, i->self);
    out->src.identity = i->from->peer ? i->from->peer->uri : NULL;
    out->src.principal = out->src.identity;
    out->dst.identity = i->from->peer ? i->self->identity->uri : NULL;
    out->dst.principal = i->self->identity->uri;
    if (i->service) {
        out->service = i->service->hostname;
        out->service_namespace = i->service->ns;
        out->service_name = i->service->name;
    }
}

static void finish_access(struct inbound_conn *i, int r, const struct diag *d)
{
    access_end(&i->access, access_flag_of(r), r,
               r >= 0       ? NULL
               : d->text[0] ? d->text
                            : err_text(r));
}

/* After the record was opened: the answer and the line agree. */
static void refuse_late(struct inbound_conn *i, unsigned status, int r, const struct diag *d)
{
    finish_access(i, r, d);
    i->front->refuse(i, status);
    inbound_free(i);
}

/* ---- policy */

static struct rbac_verdict judge(struct inbound_conn *i)
{
    const struct world *w = plane_world(i->pod->plane);
    /* The workload as it is now, so that a changed list of policies counts at once. */
    const struct workload *self = i->pod->self ? i->pod->self : i->self;
    struct rbac_conn facts = {.src = i->from->client, .dst = i->rbac_dst, .peer = i->from->peer};
    struct rbac_verdict v = rbac_decide(w, self, &facts);
    char text[RBAC_TEXT];

    log_at(&scope, i->pod->plane->config->policy_info_logging ? LOG_INFO : LOG_DEBUG,
           v.outcome == RBAC_ALLOW ? "allow" : "deny", F_STR("policy", rbac_verdict_text(&v, text)),
           F_STR("dst", self->name), F_STR("src", i->from->peer ? i->from->peer->uri : "-"));
    return v;
}

static void deny(struct inbound_conn *i, const struct rbac_verdict *v)
{
    char text[RBAC_TEXT];
    char error[RBAC_TEXT + 64];
    struct diag d = {.code = -ERR_DENIED};

    (void)snprintf(error, sizeof(error), "connection closed due to policy rejection: %s",
                   rbac_verdict_text(v, text));
    access_end(&i->access, ACCESS_DENY, -ERR_DENIED, error);
    refuse_late(i, 401, -ERR_DENIED, &d); /* the record has ended: this only answers */
}

/* ---- legs */

/* result < 0: which of the legs failed, or what it was asked to end with. */
static void ended(struct inbound_conn *i, int result)
{
    struct relay_stats stats = relay_stats(&i->relay);
    struct diag why = relay_why(&i->relay, result);

    access_moved(&i->access, stats.sent, stats.received);
    relay_close(&i->relay, result);
    finish_access(i, result, &why);
    inbound_free(i);
}

static int start_connect(struct inbound_conn *i)
{
    struct inbound_opening *x = i->opening;
    const struct endpoint *to = &x->plan.connect;
    /* A pod that calls itself keeps its own address anyway (contract 3.1). */
    bool keep = x->plan.keep_source && !ip_equal(&i->from->client.ip, &to->ip) &&
                i->from->client.ip.family == to->ip.family;
    struct sock_ask *ask = pod_ask_connect(i->pod, (enum ip_family)to->ip.family,
                                           keep ? &i->from->client.ip : NULL, NULL);

    x->far = tcp_stream_dial(i->task.loop, ask, to, CONNECT_MS);
    stream_own(x->far, &i->task);
    enter(i, IN_CONNECT);
    return 0;
}

static void start_relay(struct inbound_conn *i)
{
    struct inbound_opening *x = MOVE(i->opening);

    relay_start(&i->relay, MOVE(x->near), MOVE(x->far), &i->task);
    opening_free(x);
}

/* ---- steps: 0 to go on, -EAGAIN to wait, 1 when i is gone or the relay has it */

static int decide(struct inbound_conn *i)
{
    struct inbound_plan *plan = &i->opening->plan;

    i->front->plan(i, plan);
    i->service = plan->service;
    i->rbac_dst = plan->rbac_dst;
    if (plan->status != 200) {
        refuse_early(i, plan->status, plan->detail);
        return 1;
    }
    learn_parties(i);
    access_open(&i->access, i->pod->plane->recorder, tell);
    enter(i, IN_POLICY);
    return 0;
}

static int step_self(struct inbound_conn *i)
{
    const struct workload *self = pod_self(i->pod);
    char text[256];

    if (!self && timer_is_due(&i->opening->limit)) {
        (void)snprintf(text, sizeof(text), "unknown destination: workload %.40s/%.60s is not known",
                       i->pod->info.ns, i->pod->info.name);
        refuse_early(i, 503, text);
        return 1;
    }
    if (!self) {
        pod_wait_start(i->pod, &i->opening->wait, &i->task);
        return -EAGAIN;
    }
    pod_wait_stop(&i->opening->wait);
    i->self = workload_ref(self);
    return decide(i);
}

static int step_policy(struct inbound_conn *i)
{
    struct rbac_verdict v = judge(i);

    if (v.outcome == RBAC_ALLOW) {
        return start_connect(i);
    }
    if (v.outcome == RBAC_HOLD && !timer_is_due(&i->opening->limit)) {
        return -EAGAIN; /* woken when the world changes */
    }
    deny(i, &v);
    return 1;
}

static int step_connect(struct inbound_conn *i)
{
    struct inbound_opening *x = i->opening;
    int r = stream_flush(x->far);

    if (r == -EAGAIN) {
        return r;
    }
    if (r < 0) {
        refuse_late(i, 503, r, stream_diag(x->far));
        return 1;
    }
    x->near = i->front->accept(i);
    stream_own(x->near, &i->task);
    enter(i, IN_PREFACE);
    return 0;
}

static int step_preface(struct inbound_conn *i)
{
    struct inbound_opening *x = i->opening;

    while (x->preface.len > 0) {
        ssize_t n = stream_write(x->far, bytes_peek(&x->preface), x->preface.len);
        if (n == -EAGAIN && !timer_is_due(&x->limit)) {
            return -EAGAIN;
        }
        if (n < 0) {
            finish_access(i, (int)n, stream_diag(x->far));
            inbound_free(i);
            return 1;
        }
        bytes_skip(&x->preface, (size_t)n);
    }
    start_relay(i);
    return 1;
}

static int step(struct inbound_conn *i)
{
    switch (i->opening->step) {
    case IN_SELF:
        return step_self(i);
    case IN_POLICY:
        return step_policy(i);
    case IN_CONNECT:
        return step_connect(i);
    case IN_PREFACE:
        return step_preface(i);
    }
    return -EAGAIN;
}

static void run(struct task *t, unsigned why)
{
    struct inbound_conn *i = container_of(t, struct inbound_conn, task);

    (void)why; /* every wake is a hint */
    if (i->abort < 0) {
        ended(i, i->abort);
        return;
    }
    if (i->opening) {
        while (step(i) == 0) {
        }
        return;
    }
    int r = relay_run(&i->relay, t);
    if (r != -EAGAIN) {
        ended(i, r);
    }
}

/* ---- as the pod sees it */

static struct inbound_conn *of(struct pod_conn *c)
{
    return container_of(c, struct inbound_conn, conn);
}

static void conn_abort(struct pod_conn *c, int why)
{
    of(c)->abort = surely_negative(why);
    task_wake(&of(c)->task, WAKE_DRAIN);
}

/* A connection that was let in stays in only while policy lets it (contract 4.7). A policy that has
 * become unknown does not end what it allowed before: it is held like a new connection would be. */
static void conn_reconsider(struct pod_conn *c)
{
    struct inbound_conn *i = of(c);

    if (i->opening && i->opening->step <= IN_POLICY) {
        task_wake(&i->task, WAKE_CONFIG);
        return;
    }
    struct rbac_verdict v = judge(i);
    if (v.outcome == RBAC_DENY) {
        conn_abort(c, -ERR_POLICY_CHANGED);
    }
}

static void conn_account(struct pod_conn *c)
{
    struct inbound_conn *i = of(c);
    struct relay_stats now = relay_stats(&i->relay);

    access_moved(&i->access, now.sent, now.received);
}

/* The socket knows; one that has just failed does not, and its connection is about to end. */
static struct endpoint application_of(const struct inbound_conn *i)
{
    struct endpoint at = {.port = 0};

    if (i->opening) {
        return i->opening->plan.connect;
    }
    return sock_peer(tcp_stream_fd(i->relay.far), &at) == 0 ? at : i->rbac_dst;
}

static void conn_describe(struct pod_conn *c, struct strbuf *out)
{
    const struct inbound_conn *i = container_of(c, struct inbound_conn, conn);
    struct endpoint to = application_of(i);
    char src[ENDPOINT_TEXT];
    char dst[ENDPOINT_TEXT];

    strbuf_printf(out, "{\"src\":\"%s\",\"originalDst\":", endpoint_format(&i->from->client, src));
    if (i->forwarded_service || i->forwarded_host) {
        log_json_string(out,
                        slice_of(i->forwarded_service ? i->service->hostname : i->forwarded_host));
    } else {
        strbuf_puts(out, "null");
    }
    strbuf_printf(out, ",\"actualDst\":\"%s\",\"protocol\":\"%s\"}", endpoint_format(&to, dst),
                  i->front->protocol);
}

static const struct pod_conn_ops inbound_ops = {
    .way = POD_IN,
    .reconsider = conn_reconsider,
    .abort = conn_abort,
    .account = conn_account,
    .describe = conn_describe,
};

void inbound_start(struct inbound_conn *take_i, struct pod *p, const struct inbound_front *front)
{
    task_init(&take_i->task, p->plane->loop, "inbound", run);
    bytes_init(&take_i->opening->preface, 4096);
    take_i->pod = p;
    take_i->front = front;
    pod_conn_start(p, &take_i->conn, &inbound_ops);
    enter(take_i, IN_SELF);
    task_wake(&take_i->task, WAKE_START);
}
_Static_assert(sizeof(struct inbound_conn) <= 312, "per-connection memory is a budget");
