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
                                        [IN_PREFACE] = CONNECT_MS,
                                        [IN_RELAY] = 0};

    i->step = next;
    timer_clear(&i->limit);
    if (limit_ms[next] > 0) {
        timer_set(&i->limit, &i->task, limit_ms[next]);
    }
}

static void inbound_free(struct inbound_conn *i)
{
    pod_wait_stop(&i->wait);
    pod_conn_stop(i->pod, &i->conn);
    timer_clear(&i->limit);
    task_fini(&i->task);
    stream_close(i->near, -ERR_CANCELLED);
    stream_close(i->far, -ERR_CANCELLED);
    service_unref(i->plan.service);
    workload_unref(i->self);
    workload_unref(i->source);
    identity_unref(i->peer);
    baggage_side_fini(&i->baggage);
    bytes_fini(&i->preface);
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
            if (m->ports[k].target_port == i->plan.rbac_dst.port) {
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
        if (slash && slice_is(i->forwarded_host, slash + 1)) {
            return world_service(w, i->self->services[s].key);
        }
    }
    return NULL;
}

static const struct service *service_of(const struct inbound_conn *i, const struct world *w)
{
    if (i->plan.service) {
        return i->plan.service;
    }
    const struct service *s = i->forwarded_host.len > 0 ? service_by_host(i, w) : NULL;
    return s ? s : service_by_port(i, w);
}

static void access_fill(struct inbound_conn *i)
{
    struct access *r = &i->access;
    const struct world *w = plane_world(i->pod->plane);

    if (i->trust_source_ip) {
        i->source =
            workload_ref(world_workload_at(w, i->pod->plane->config->network, &i->client.ip));
    }
    if (i->source) {
        baggage_side_fini(&i->baggage); /* what it says is not asked for */
    }
    i->plan.service = i->plan.service ? i->plan.service : service_ref(service_of(i, w));
    r->reporter = ACCESS_DESTINATION;
    r->mutual_tls = i->peer != NULL;
    r->located = true;
    r->src_addr = i->client;
    r->dst_addr = i->door;
    r->hbone_addr = i->hbone_addr;
    baggage_side_fill(&i->baggage, &r->src);
    side_from_workload(&r->src, i->source);
    side_from_workload(&r->dst, i->self);
    r->src.identity = i->peer ? i->peer->uri : NULL;
    r->src.principal = r->src.identity;
    r->dst.identity = i->peer ? i->self->identity->uri : NULL;
    r->dst.principal = i->self->identity->uri;
    if (i->plan.service) {
        r->service = i->plan.service->hostname;
        r->service_namespace = i->plan.service->ns;
        r->service_name = i->plan.service->name;
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
    struct rbac_verdict v = rbac_decide(w, self, &i->facts);
    char text[RBAC_TEXT];

    i->policy_generation = world_policy_generation(w);
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

    access_bytes(&i->access, stats.sent - i->counted.sent, stats.received - i->counted.received);
    finish_access(i, result, diag);
    i->relay = NULL;
    inbound_free(i);
}

static int start_connect(struct inbound_conn *i)
{
    const struct endpoint *to = &i->plan.connect;
    /* A pod that calls itself keeps its own address anyway (contract 3.1). */
    bool keep = i->plan.keep_source && !ip_equal(&i->client.ip, &to->ip) &&
                i->client.ip.family == to->ip.family;
    struct sock_ask *ask =
        pod_ask_connect(i->pod, (enum ip_family)to->ip.family, keep ? &i->client.ip : NULL, NULL);

    i->far = tcp_stream_dial(i->task.loop, ask, to, CONNECT_MS);
    stream_own(i->far, &i->task);
    enter(i, IN_CONNECT);
    return 0;
}

static void start_relay(struct inbound_conn *i)
{
    enter(i, IN_RELAY);
    i->relay = relay_new(i->task.loop, i->near, i->far, relayed, i);
    i->near = NULL;
    i->far = NULL;
}

/* ---- steps: 0 to go on, -EAGAIN to wait, 1 when i is gone or the relay has it */

static int decide(struct inbound_conn *i)
{
    i->front->plan(i, &i->plan);
    if (i->plan.status != 200) {
        refuse_early(i, i->plan.status, i->plan.detail);
        return 1;
    }
    i->facts = (struct rbac_conn){.src = i->client, .dst = i->plan.rbac_dst, .peer = i->peer};
    access_fill(i);
    access_open(&i->access, i->pod->plane->recorder);
    enter(i, IN_POLICY);
    return 0;
}

static int step_self(struct inbound_conn *i)
{
    const struct workload *self = pod_self(i->pod);
    char text[256];

    if (!self && timer_is_due(&i->limit)) {
        (void)snprintf(text, sizeof(text), "unknown destination: workload %.40s/%.60s is not known",
                       i->pod->info.ns, i->pod->info.name);
        refuse_early(i, 503, text);
        return 1;
    }
    if (!self) {
        pod_wait_start(i->pod, &i->wait, &i->task);
        return -EAGAIN;
    }
    pod_wait_stop(&i->wait);
    i->self = workload_ref(self);
    return decide(i);
}

static int step_policy(struct inbound_conn *i)
{
    struct rbac_verdict v = judge(i);

    if (v.outcome == RBAC_ALLOW) {
        return start_connect(i);
    }
    if (v.outcome == RBAC_HOLD && !timer_is_due(&i->limit)) {
        return -EAGAIN; /* woken when the world changes */
    }
    deny(i, &v);
    return 1;
}

static int step_connect(struct inbound_conn *i)
{
    int r = stream_flush(i->far);

    if (r == -EAGAIN) {
        return r;
    }
    if (r < 0) {
        refuse_late(i, 503, r, stream_diag(i->far));
        return 1;
    }
    i->near = i->front->accept(i);
    stream_own(i->near, &i->task);
    enter(i, IN_PREFACE);
    return 0;
}

static int step_preface(struct inbound_conn *i)
{
    while (i->preface.len > 0) {
        ssize_t n = stream_write(i->far, bytes_peek(&i->preface), i->preface.len);
        if (n == -EAGAIN && !timer_is_due(&i->limit)) {
            return -EAGAIN;
        }
        if (n < 0) {
            finish_access(i, (int)n, stream_diag(i->far));
            inbound_free(i);
            return 1;
        }
        bytes_skip(&i->preface, (size_t)n);
    }
    start_relay(i);
    return 1;
}

static int step(struct inbound_conn *i)
{
    switch (i->step) {
    case IN_SELF:
        return step_self(i);
    case IN_POLICY:
        return step_policy(i);
    case IN_CONNECT:
        return step_connect(i);
    case IN_PREFACE:
        return step_preface(i);
    case IN_RELAY:
        break;
    }
    return -EAGAIN;
}

static void aborted(struct inbound_conn *i)
{
    struct diag d = {.code = i->abort};

    (void)diag_note(&d, i->abort, "%s", err_text(i->abort)); /* noted for the record */
    finish_access(i, i->abort, &d);
    inbound_free(i);
}

static void run(struct task *t, unsigned why)
{
    struct inbound_conn *i = container_of(t, struct inbound_conn, task);

    (void)why; /* every wake is a hint */
    if (i->abort < 0 && i->step != IN_RELAY) {
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

    i->abort = why;
    if (i->relay) {
        relay_abort(i->relay, why);
    } else {
        task_wake(&i->task, WAKE_DRAIN);
    }
}

/* A connection that was let in stays in only while policy lets it (contract 4.7). A policy that has
 * become unknown does not end what it allowed before: it is held like a new connection would be. */
static void conn_reconsider(struct pod_conn *c)
{
    struct inbound_conn *i = of(c);

    if (i->step == IN_SELF || i->step == IN_POLICY) {
        task_wake(&i->task, WAKE_CONFIG);
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
        access_bytes(&i->access, now.sent - i->counted.sent, now.received - i->counted.received);
        i->counted = now;
    }
}

static void conn_describe(struct pod_conn *c, struct strbuf *out)
{
    const struct inbound_conn *i = container_of(c, struct inbound_conn, conn);
    char src[ENDPOINT_TEXT];
    char dst[ENDPOINT_TEXT];

    strbuf_printf(out, "{\"src\":\"%s\",\"originalDst\":", endpoint_format(&i->client, src));
    if (i->forwarded_host.len > 0) {
        log_json_string(out, i->forwarded_host);
    } else {
        strbuf_puts(out, "null");
    }
    strbuf_printf(out, ",\"actualDst\":\"%s\",\"protocol\":\"%s\"}",
                  endpoint_format(&i->plan.connect, dst), i->front->protocol);
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
    task_init(&i->task, p->plane->loop, "inbound", run);
    i->pod = p;
    i->front = front;
    bytes_init(&i->preface, 4096);
    pod_conn_start(p, &i->conn, &inbound_ops);
    enter(i, IN_SELF);
    task_wake(&i->task, WAKE_START);
}
