/* SPDX-License-Identifier: Apache-2.0 */
#include "ztunnel/outbound.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/rand.h"
#include "codec/forwarded.h"
#include "codec/traceparent.h"
#include "io/failed_stream.h"
#include "io/relay.h"
#include "io/sock.h"
#include "io/tcp_stream.h"
#include "model/route.h"
#include "obs/labels.h"
#include "ztunnel/stats.h"

enum outbound_step {
    OUT_SELF,       /* the control plane does not know this pod yet */
    OUT_NAME,       /* the destination is known by name only, the name is being looked up */
    OUT_CREDENTIAL, /* a tunnel is wanted, the certificate is on its way */
    OUT_DIAL        /* the far leg is being opened */
};

struct opening {        /* what a connection needs no more once it is open */
    struct timer limit; /* of the step; OUT_NAME and OUT_DIAL have limits in the layers below */
    struct pod_wait wait;
    struct host_wait name_wait;
    enum outbound_step step;
    struct route route; /* from OUT_CREDENTIAL on; next and service are the connection's */
    struct stream *near;
    struct stream *far;
    bool far_is_tunnel; /* far answers what is asked of dialled streams */
};

struct outbound {
    struct task task;
    struct pod_conn conn;
    struct access access;
    struct pod *pod;
    struct opening *opening; /* NULL once the relay has both legs */
    struct relay relay;
    const struct workload *self; /* counted, from OUT_CREDENTIAL on */
    /* Of the route, from the decision on. */
    const struct workload *next;   /* counted; NULL: not known */
    const struct service *service; /* counted; NULL: none */
    struct endpoint to;
    struct endpoint peer;
    struct endpoint original;
    int abort; /* < 0: asked to end with this result */
    uint16_t target_port;
    uint8_t kind; /* enum route_kind */
    bool routed;  /* to and kind are those of the decision */
};
_Static_assert(sizeof(struct outbound) <= 312, "per-connection memory is a budget");

static void enter(struct outbound *o, enum outbound_step next)
{
    static const uint64_t limit_ms[] = {[OUT_SELF] = SELF_WAIT_MS,
                                        [OUT_NAME] = 0,
                                        [OUT_CREDENTIAL] = CREDENTIAL_WAIT_MS,
                                        [OUT_DIAL] = 0};
    struct opening *x = o->opening;

    x->step = next;
    timer_clear(&x->limit);
    if (limit_ms[next] > 0) {
        timer_set(&x->limit, &o->task, limit_ms[next]);
    }
}

static void opening_free(struct opening *x)
{
    if (x) {
        pod_wait_stop(&x->wait);
        host_wait_stop(&x->name_wait);
        timer_clear(&x->limit);
        stream_close(x->near, -ERR_CANCELLED);
        stream_close(x->far, -ERR_CANCELLED);
        route_fini(&x->route);
        mem_free(x);
    }
}

static void outbound_free(struct outbound *o)
{
    stats_sockets(o->pod->plane->shard, true, -1);
    pod_conn_stop(o->pod, &o->conn);
    opening_free(o->opening);
    relay_close(&o->relay, -ERR_CANCELLED);
    task_fini(&o->task);
    workload_unref(o->self);
    workload_unref(o->next);
    service_unref(o->service);
    mem_free(o);
}

/* Before there is a record: one line, and none of istio's metrics (contract 3.2). */
static void refuse(struct outbound *o, int r, const char *error)
{
    access_refused(o->pod->plane->recorder, ACCESS_SOURCE, &o->peer, &o->original, r, error);
    outbound_free(o);
}

static bool is_hbone(unsigned kind)
{
    return kind == ROUTE_HBONE || kind == ROUTE_WAYPOINT || kind == ROUTE_DOUBLE;
}

/* ---- the record */

/* What model/route.c made of the same for the CONNECT. */
static void tell_authority(const struct outbound *o, struct access_facts *out)
{
    switch (o->kind) {
    case ROUTE_HBONE:
        out->hbone_at = (struct endpoint){o->to.ip, o->target_port};
        break;
    case ROUTE_DOUBLE:
        out->hbone_host = o->service->hostname;
        out->hbone_at.port = o->original.port;
        break;
    case ROUTE_WAYPOINT:
        out->hbone_at = o->original;
        break;
    default:
        break;
    }
}

static void tell(const struct access *a, struct access_facts *out)
{
    const struct outbound *o = container_of((struct access *)(uintptr_t)a, struct outbound, access);
    bool hbone = is_hbone(o->kind);

    out->reporter = ACCESS_SOURCE;
    out->mutual_tls = hbone;
    out->located = true;
    out->src_addr = o->peer;
    out->dst_addr = o->kind == ROUTE_PASSTHROUGH ? o->original : o->to;
    tell_authority(o, out);
    side_from_workload(&out->src, o->self);
    side_from_workload(&out->dst, o->next);
    out->src.identity = out->src.principal = hbone ? o->self->identity->uri : NULL;
    out->dst.principal = o->next ? o->next->identity->uri : NULL;
    out->dst.identity = hbone ? out->dst.principal : NULL;
    if (o->service) {
        out->service = o->service->hostname;
        out->service_namespace = o->service->ns;
        out->service_name = o->service->name;
    }
}

static bool is_connect_timeout(int r, const struct diag *d)
{
    return r == -ERR_DEADLINE && strncmp(d->text, "connect to ", 11) == 0;
}

/* Which response flag a failure of the far leg is (contract 9.2). */
static enum access_flag flag_of(const struct outbound *o, int r, const struct diag *d)
{
    switch (-r) {
    case ERR_H2_PROTOCOL:
    case ERR_H2_FLOW:
    case ERR_H2_ABUSE:
    case ERR_H2_RESET:
        return o->opening ? ACCESS_H2_FAILURE : ACCESS_CONNECT;
    case ERR_DEADLINE:
        return is_hbone(o->kind) && is_connect_timeout(r, d) ? ACCESS_NETWORK_POLICY
                                                             : ACCESS_CONNECT;
    default:
        return access_flag_of(r);
    }
}

static void finish_access(struct outbound *o, int r, const struct diag *d)
{
    char text[256];

    if (r >= 0) {
        access_end(&o->access, ACCESS_OK, 0, NULL);
        return;
    }
    bool policy = is_hbone(o->kind) && is_connect_timeout(r, d);
    (void)snprintf(text, sizeof(text), "%s%s", d->text[0] ? d->text : err_text(r),
                   policy ? ", maybe a NetworkPolicy is blocking HBONE port 15008" : "");
    access_end(&o->access, flag_of(o, r, d), r, text);
}

/* ---- the legs */

/* result < 0: which of the legs failed, or what it was asked to end with. */
static void ended(struct outbound *o, int result)
{
    struct relay_stats stats = relay_stats(&o->relay);
    struct diag why = relay_why(&o->relay, result);

    access_moved(&o->access, stats.sent, stats.received);
    relay_close(&o->relay, result);
    finish_access(o, result, &why);
    outbound_free(o);
}

static void start_relay(struct outbound *o)
{
    struct opening *x = MOVE(o->opening);

    relay_start(&o->relay, MOVE(x->near), MOVE(x->far), &o->task);
    opening_free(x);
}

static struct stream *dial_plain(struct outbound *o, const struct endpoint *to)
{
    struct sock_ask *ask = pod_ask_connect(o->pod, (enum ip_family)to->ip.family, NULL, NULL);

    return tcp_stream_dial(o->task.loop, ask, to, CONNECT_MS);
}

struct uris {
    const char *at[HBONE_EXPECT_MAX];
    unsigned count;
};

static void uris_fill(struct uris *u, const struct identity **ids, unsigned count)
{
    for (u->count = 0; u->count < count && u->count < HBONE_EXPECT_MAX; u->count++) {
        u->at[u->count] = ids[u->count]->uri;
    }
}

struct head_texts {
    struct strbuf baggage;
    struct strbuf forwarded;
    char trace[TRACEPARENT_TEXT];
};

static void head_texts_release(struct head_texts t)
{
    strbuf_fini(&t.baggage);
    strbuf_fini(&t.forwarded);
}
AUTO_DEFINE(head_texts, struct head_texts, head_texts_release);

/* The CONNECT as contract 2.4 has it. The texts live in t. */
static struct hbone_head head_make(struct outbound *o, struct head_texts *t)
{
    struct traceparent tp = {.flags = 0};
    uint64_t random[3] = {rand_seq_next(&o->pod->plane->random),
                          rand_seq_next(&o->pod->plane->random),
                          rand_seq_next(&o->pod->plane->random) | 1};

    memcpy(tp.trace_id, random, sizeof(tp.trace_id));
    memcpy(tp.parent_id, &random[2], sizeof(tp.parent_id));
    workload_baggage(&t->baggage, o->self);
    forwarded_format(&t->forwarded, &o->peer, o->service ? o->service->hostname : "");
    return (struct hbone_head){.authority = slice_of(o->opening->route.authority),
                               .baggage = {strbuf_text(&t->baggage), t->baggage.len},
                               .forwarded = {strbuf_text(&t->forwarded), t->forwarded.len},
                               .traceparent = slice_of(traceparent_format(&tp, t->trace))};
}

static struct stream *no_tunnel(struct outbound *o, const char *text)
{
    o->opening->far_is_tunnel = false;
    return failed_stream_new(-ERR_IDENTITY, text);
}

/* Through another network's gateway: a second tunnel inside the first (contract 2.11). */
static struct stream *dial_inner(struct outbound *o, struct stream *outer, struct hbone_head *head)
{
    static const char *const alpn[] = {"h2"};
    struct credential *credential = NULL;
    struct diag why = {0};
    struct uris expect;

    uris_fill(&expect, o->opening->route.inner_expect, o->opening->route.inner_expect_count);
    if (expect.count == 0 || pod_credential(o->pod, &credential, &why) < 0) {
        stream_close(outer, -ERR_CANCELLED);
        return no_tunnel(o, expect.count == 0 ? "the service names no identity for the far network"
                                              : "own certificate is not there");
    }
    struct handshake_spec spec = {.role = TLS_MESH_CLIENT,
                                  .credential = credential,
                                  .expect = expect.at,
                                  .expect_count = expect.count,
                                  .alpn = alpn,
                                  .alpn_count = 1};
    struct stream *tls =
        tls_stream_new(o->pod->plane->tls, outer, &spec, pod_lane(o->pod, POD_OUT));
    head->network = slice_of(o->pod->plane->config->network);
    return hbone_dial_once(o->pod->plane->hbone, tls, head, &o->pod->budget);
}

static struct stream *dial_tunnel(struct outbound *o)
{
    AUTO(head_texts) struct head_texts texts = {.trace = ""};
    struct uris expect;

    uris_fill(&expect, o->opening->route.expect, o->opening->route.expect_count);
    if (expect.count == 0) {
        return no_tunnel(o, "no identity is expected of the destination");
    }
    struct hbone_target target = {.gateway = o->opening->route.tcp,
                                  .local = o->self->identity->uri,
                                  .expect = expect.at,
                                  .expect_count = expect.count,
                                  .source = o->peer.ip,
                                  .head = head_make(o, &texts)};
    struct stream *s = hbone_dial(o->pod->pool, &target);
    return o->kind == ROUTE_DOUBLE ? dial_inner(o, s, &target.head) : s;
}

static int start_dial(struct outbound *o)
{
    struct opening *x = o->opening;

    access_open(&o->access, o->pod->plane->recorder, tell);
    x->far_is_tunnel = is_hbone(o->kind);
    x->far = x->far_is_tunnel ? dial_tunnel(o)
                              : dial_plain(o, o->kind == ROUTE_PASSTHROUGH ? &o->original : &o->to);
    stream_own(x->far, &o->task);
    enter(o, OUT_DIAL);
    return 0;
}

/* ---- steps: 0 to go on, -EAGAIN to wait, 1 when o is gone or the relay has it */

/* A connection may last for days: what it keeps of its route. */
static void keep_route(struct outbound *o)
{
    struct route *r = &o->opening->route;

    o->kind = (uint8_t)r->kind;
    o->to = r->tcp;
    o->next = MOVE(r->next);
    o->service = MOVE(r->service);
    o->target_port = r->target_port;
    o->routed = true;
}

/* The route is complete. */
static int go(struct outbound *o)
{
    keep_route(o);
    if (is_hbone(o->kind)) {
        enter(o, OUT_CREDENTIAL);
        return 0;
    }
    return start_dial(o);
}

static struct route_query query_of(const struct outbound *o)
{
    const struct config *c = o->pod->plane->config;

    return (struct route_query){.source = o->self,
                                .network = c->network,
                                .src = o->peer,
                                .dst = o->original,
                                .illegal_ports = c->illegal_ports,
                                .illegal_count = c->illegal_count,
                                .seed = rand_seq_next(&o->pod->plane->random)};
}

/* A refusal, or a route that is complete. */
static int take_route(struct outbound *o)
{
    const struct route *r = &o->opening->route;

    if (r->kind == ROUTE_DENY) {
        refuse(o, r->detail.code, r->detail.text);
        return 1;
    }
    return go(o);
}

static int decide(struct outbound *o)
{
    struct route *r = &o->opening->route;
    struct route_query q = query_of(o);

    route_decide(r, plane_world(o->pod->plane), &q);
    if (r->kind != ROUTE_DENY && r->resolve) {
        stats_on_demand_dns(o->pod->plane->shard, o->self, r->resolve);
        enter(o, OUT_NAME);
        return 0;
    }
    return take_route(o);
}

static int step_name(struct outbound *o)
{
    struct opening *x = o->opening;
    struct route_query q = query_of(o);
    const struct ip *at = NULL;
    struct diag why = {.code = 0};

    x->name_wait.owner = &o->task;
    int n = host_names_find(o->pod->plane->hosts, x->route.resolve, &o->pod->hosts, &x->name_wait,
                            &at, &why);
    if (n == -EAGAIN) {
        return n;
    }
    if (n < 0) {
        refuse(o, n, why.text);
        return 1;
    }
    route_resolve(&x->route, &q, at, (unsigned)n);
    return take_route(o);
}

static int step_self(struct outbound *o)
{
    char text[256];
    const struct workload *self = pod_self(o->pod);

    if (!self && timer_is_due(&o->opening->limit)) {
        (void)snprintf(text, sizeof(text), "unknown source: workload %.40s/%.60s is not known",
                       o->pod->info.ns, o->pod->info.name);
        refuse(o, -ERR_UNAVAILABLE, text);
        return 1;
    }
    if (!self) {
        pod_wait_start(o->pod, &o->opening->wait, &o->task);
        return -EAGAIN;
    }
    o->self = workload_ref(self);
    return decide(o);
}

static int step_credential(struct outbound *o)
{
    struct credential *c = NULL;
    struct diag why = {0};
    int r = pod_credential(o->pod, &c, &why);

    if (r == -EAGAIN && timer_is_due(&o->opening->limit)) {
        r = FAIL(&why, -ERR_DEADLINE, "own certificate did not arrive in time");
    }
    if (r == -EAGAIN) {
        pod_wait_start(o->pod, &o->opening->wait, &o->task);
        return r;
    }
    pod_wait_stop(&o->opening->wait);
    if (r < 0) {
        access_open(&o->access, o->pod->plane->recorder, tell);
        access_end(&o->access, ACCESS_IDENTITY_ERROR, r, why.text);
        outbound_free(o);
        return 1;
    }
    return start_dial(o);
}

static int step_dial(struct outbound *o)
{
    struct opening *x = o->opening;
    int r = x->far_is_tunnel ? hbone_dial_ready(x->far) : stream_flush(x->far);

    if (r == -EAGAIN) {
        return r;
    }
    if (r < 0) {
        finish_access(o, r, stream_diag(x->far));
        outbound_free(o);
        return 1;
    }
    start_relay(o);
    return 1;
}

static int step(struct outbound *o)
{
    switch (o->opening->step) {
    case OUT_SELF:
        return step_self(o);
    case OUT_NAME:
        return step_name(o);
    case OUT_CREDENTIAL:
        return step_credential(o);
    case OUT_DIAL:
        return step_dial(o);
    }
    return -EAGAIN;
}

static void run(struct task *t, unsigned why)
{
    struct outbound *o = container_of(t, struct outbound, task);

    (void)why; /* every wake is a hint */
    if (o->abort < 0) {
        ended(o, o->abort);
        return;
    }
    if (o->opening) {
        while (step(o) == 0) {
        }
        return;
    }
    int r = relay_run(&o->relay, t);
    if (r != -EAGAIN) {
        ended(o, r);
    }
}

/* ---- as the pod sees it */

static struct outbound *of(struct pod_conn *c)
{
    return container_of(c, struct outbound, conn);
}

static void conn_abort(struct pod_conn *c, int why)
{
    of(c)->abort = surely_negative(why);
    task_wake(&of(c)->task, WAKE_DRAIN);
}

static void conn_account(struct pod_conn *c)
{
    struct outbound *o = of(c);
    struct relay_stats now = relay_stats(&o->relay);

    access_moved(&o->access, now.sent, now.received);
}

static void conn_describe(struct pod_conn *c, struct strbuf *out)
{
    const struct outbound *o = container_of(c, struct outbound, conn);
    char src[ENDPOINT_TEXT];
    char dst[ENDPOINT_TEXT];
    char next[ENDPOINT_TEXT];
    const char *protocol = !o->routed                ? "TCP"
                           : o->kind == ROUTE_DOUBLE ? "DOUBLEHBONE"
                           : is_hbone(o->kind)       ? "HBONE"
                                                     : "TCP";

    strbuf_printf(
        out, "{\"src\":\"%s\",\"originalDst\":\"%s\",\"actualDst\":\"%s\",\"protocol\":\"%s\"}",
        endpoint_format(&o->peer, src), endpoint_format(&o->original, dst),
        endpoint_format(o->routed && o->to.ip.family ? &o->to : &o->original, next), protocol);
}

static const struct pod_conn_ops outbound_ops = {
    .way = POD_OUT,
    .abort = conn_abort,
    .account = conn_account,
    .describe = conn_describe,
};

void outbound_open(struct pod *p, int take_fd, const struct endpoint *peer)
{
    struct outbound *o = mem_new(struct outbound);
    struct opening *x = mem_new(struct opening);

    task_init(&o->task, p->plane->loop, "outbound", run);
    o->opening = x;
    o->pod = p;
    o->peer = *peer;
    (void)sock_set_nodelay(take_fd); /* a socket without it still works */
    int r = sock_original_destination(take_fd, &o->original);
    x->near = tcp_stream_new(p->plane->loop, take_fd);
    stats_sockets(p->plane->shard, true, 1);
    pod_conn_start(p, &o->conn, &outbound_ops);
    enter(o, OUT_SELF);
    if (r < 0) {
        refuse(o, r, "no original destination");
        return;
    }
    task_wake(&o->task, WAKE_START);
}
