/* SPDX-License-Identifier: Apache-2.0 */
#include "ztunnel/inbound.h"

#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "io/tcp_stream.h"

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
        timer_set(&x->limit, &x->task, limit_ms[next]);
    }
}

static void opening_free(struct inbound_opening *x)
{
    if (x) {
        pod_wait_stop(&x->wait);
        timer_clear(&x->limit);
        task_fini(&x->task);
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
    pod_conn_stop(i->pod, &i->conn);
    opening_free(i->opening);
    service_unref(i->service);
    workload_unref(i->self);
    workload_unref(i->source);
    identity_unref(i->peer);
    drop_baggage(i);
    mem_free(i->hbone_addr);
    mem_free(i->forwarded_host);
    i->front->free(i); /* frees i too */
}

/* Before there is a record: one line, no metrics (contract 2.6, 3.5). */
static void refuse_early(struct inbound_conn *i, unsigned status, const char *error)
{
    access_refused(i->pod->plane->recorder, ACCESS_DESTINATION, &i->client, &i->door, error);
    i->front->refuse(i, status);
    inbound_free(i);
}

/* ---- the record */

/* A service of the workload's that maps some port to the destination port (contract 9.2). */
static const struct service *service_by_port(const struct inbound_conn *i, const struct world *w)
{
    for (unsigned s = 0; s < i->self->service_count; s++) {
        const struct workload_service *m = &i->self->services[s];
        for (unsigned k = 0; k < m->port_count; k++) {
            if (m->ports[k].target_port == i->rbac_dst.port) {
                return world_service(w, m->key);
            }
        }
    }
    return NULL;
}

static const struct service *service_by_host(const struct inbound_conn *i, const struct world *w)
{
    for (unsigned s = 0; s < i->self->service_count; s++) {
        const char *slash = strchr(i->self->services[s].key, '/');
        if (slash && strcmp(i->forwarded_host, slash + 1) == 0) {
            return world_service(w, i->self->services[s].key);
        }
    }
    return NULL;
}

static const struct service *service_of(const struct inbound_conn *i, const struct world *w)
{
    const struct service *s = i->forwarded_host ? service_by_host(i, w) : NULL;

    return s ? s : service_by_port(i, w);
}

/* Who takes part, for the record. */
static void learn_parties(struct inbound_conn *i)
{
    const struct world *w = plane_world(i->pod->plane);

    if (i->trust_source_ip) {
        i->source =
            workload_ref(world_workload_at(w, i->pod->plane->config->network, &i->client.ip));
    }
    if (i->source) {
        drop_baggage(i); /* what it says is not asked for */
    }
    i->service = i->service ? i->service : service_ref(service_of(i, w));
}

static void tell(const struct access *a, struct access_facts *out)
{
    const struct inbound_conn *i =
        container_of((struct access *)(uintptr_t)a, struct inbound_conn, access);

    out->reporter = ACCESS_DESTINATION;
    out->mutual_tls = i->peer != NULL;
    out->located = true;
    out->src_addr = i->client;
    out->dst_addr = i->door;
    out->hbone_addr = i->hbone_addr;
    if (i->baggage) {
        baggage_side_fill(i->baggage, &out->src);
    }
    side_from_workload(&out->src, i->source);
    side_from_workload(&out->dst, i->self);
    out->src.identity = i->peer ? i->peer->uri : NULL;
    out->src.principal = out->src.identity;
    out->dst.identity = i->peer ? i->self->identity->uri : NULL;
    out->dst.principal = i->self->identity->uri;
    if (i->service) {
        out->service = i->service->hostname;
        out->service_namespace = i->service->ns;
        out->service_name = i->service->name;
    }
}

static enum access_flag flag_of(int r)
{
    switch (-r) {
    case ERR_POLICY_CHANGED:
    case ERR_DENIED:
        return ACCESS_DENY;
    case ERR_DRAINED:
    case ERR_CANCELLED:
        return ACCESS_OK;
    default: /* errno values and everything else: contract 9.2 */
        return ACCESS_CONNECT;
    }
}

static void finish_access(struct inbound_conn *i, int r, const struct diag *d)
{
    access_end(&i->access, r < 0 ? flag_of(r) : ACCESS_OK,
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
    struct rbac_conn facts = {.src = i->client, .dst = i->rbac_dst, .peer = i->peer};
    struct rbac_verdict v = rbac_decide(w, self, &facts);
    char text[RBAC_TEXT];

    log_at(&scope, i->pod->plane->config->policy_info_logging ? LOG_INFO : LOG_DEBUG,
           v.outcome == RBAC_ALLOW ? "allow" : "deny", F_STR("policy", rbac_verdict_text(&v, text)),
           F_STR("dst", self->name), F_STR("src", i->peer ? i->peer->uri : "-"));
    return v;
}

static void deny(struct inbound_conn *i, const struct rbac_verdict *v)
{
    char text[RBAC_TEXT];
    char error[RBAC_TEXT + 64];
    struct diag d = {.code = -ERR_DENIED};

    (void)snprintf(error, sizeof(error), "connection closed due to policy rejection: %s",
                   rbac_verdict_text(v, text));
    access_end(&i->access, ACCESS_DENY, error);
    refuse_late(i, 401, -ERR_DENIED, &d); /* the record has ended: this only answers */
}

/* ---- legs */

static void relayed(void *arg, int result, struct relay_stats stats, const struct diag *diag)
{
    struct inbound_conn *i = arg;

    access_moved(&i->access, stats.sent, stats.received);
    finish_access(i, result, diag);
    i->relay = NULL;
    inbound_free(i);
}

static int start_connect(struct inbound_conn *i)
{
    struct inbound_opening *x = i->opening;
    const struct endpoint *to = &i->connect;
    /* A pod that calls itself keeps its own address anyway (contract 3.1). */
    bool keep = x->plan.keep_source && !ip_equal(&i->client.ip, &to->ip) &&
                i->client.ip.family == to->ip.family;
    struct sock_ask *ask =
        pod_ask_connect(i->pod, (enum ip_family)to->ip.family, keep ? &i->client.ip : NULL, NULL);

    x->far = tcp_stream_dial(x->task.loop, ask, to, CONNECT_MS);
    stream_own(x->far, &x->task);
    enter(i, IN_CONNECT);
    return 0;
}

static void start_relay(struct inbound_conn *i)
{
    struct inbound_opening *x = i->opening;

    i->relay = relay_new(x->task.loop, x->near, x->far, relayed, i);
    x->near = NULL;
    x->far = NULL;
    i->opening = NULL;
    opening_free(x);
}

/* ---- steps: 0 to go on, -EAGAIN to wait, 1 when i is gone or the relay has it */

static int decide(struct inbound_conn *i)
{
    struct inbound_plan *plan = &i->opening->plan;

    i->front->plan(i, plan);
    i->service = plan->service;
    i->rbac_dst = plan->rbac_dst;
    i->connect = plan->connect;
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
        pod_wait_start(i->pod, &i->opening->wait, &i->opening->task);
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
    stream_own(x->near, &x->task);
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

static void aborted(struct inbound_conn *i)
{
    int why = i->opening->abort;
    struct diag d = {.code = why};

    (void)diag_note(&d, why, "%s", err_text(why)); /* noted for the record */
    finish_access(i, why, &d);
    inbound_free(i);
}

static void run(struct task *t, unsigned why)
{
    struct inbound_conn *i = container_of(t, struct inbound_opening, task)->conn;

    (void)why; /* every wake is a hint */
    if (i->opening->abort < 0) {
        aborted(i);
        return;
    }
    while (step(i) == 0) {
    }
}

/* ---- as the pod sees it */

static struct inbound_conn *of(struct pod_conn *c)
{
    return container_of(c, struct inbound_conn, conn);
}

static void conn_abort(struct pod_conn *c, int why)
{
    struct inbound_conn *i = of(c);

    if (i->relay) {
        relay_abort(i->relay, why);
    } else {
        i->opening->abort = why;
        task_wake(&i->opening->task, WAKE_DRAIN);
    }
}

/* A connection that was let in stays in only while policy lets it (contract 4.7). A policy that has
 * become unknown does not end what it allowed before: it is held like a new connection would be. */
static void conn_reconsider(struct pod_conn *c)
{
    struct inbound_conn *i = of(c);

    if (i->opening && i->opening->step <= IN_POLICY) {
        task_wake(&i->opening->task, WAKE_CONFIG);
        return;
    }
    struct rbac_verdict v = judge(i);
    if (v.outcome == RBAC_DENY) {
        conn_abort(c, -ERR_POLICY_CHANGED);
    }
}

static void conn_drain(struct pod_conn *c)
{
    (void)c; /* may finish */
}

static void conn_account(struct pod_conn *c)
{
    struct inbound_conn *i = of(c);

    if (i->relay) {
        struct relay_stats now = relay_stats(i->relay);
        access_moved(&i->access, now.sent, now.received);
    }
}

static void conn_describe(struct pod_conn *c, struct strbuf *out)
{
    const struct inbound_conn *i = container_of(c, struct inbound_conn, conn);
    char src[ENDPOINT_TEXT];
    char dst[ENDPOINT_TEXT];

    strbuf_printf(out, "{\"src\":\"%s\",\"originalDst\":", endpoint_format(&i->client, src));
    if (i->forwarded_host) {
        log_json_string(out, slice_of(i->forwarded_host));
    } else {
        strbuf_puts(out, "null");
    }
    strbuf_printf(out, ",\"actualDst\":\"%s\",\"protocol\":\"%s\"}",
                  endpoint_format(&i->connect, dst), i->front->protocol);
}

static const struct pod_conn_ops inbound_ops = {
    .reconsider = conn_reconsider,
    .abort = conn_abort,
    .drain = conn_drain,
    .account = conn_account,
    .direction = "inbound",
    .describe = conn_describe,
};

void inbound_start(struct inbound_conn *i, struct pod *p, const struct inbound_front *front)
{
    struct inbound_opening *x = mem_new(struct inbound_opening);

    task_init(&x->task, p->plane->loop, "inbound", run);
    x->conn = i;
    bytes_init(&x->preface, 4096);
    i->opening = x;
    i->pod = p;
    i->front = front;
    pod_conn_start(p, &i->conn, &inbound_ops);
    enter(i, IN_SELF);
    task_wake(&x->task, WAKE_START);
}
