/* SPDX-License-Identifier: Apache-2.0 */
#include "ztunnel/tunnel_request.h"

#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "codec/authority.h"
#include "codec/forwarded.h"
#include "codec/proxyproto.h"
#include "model/route.h"
#include "ztunnel/inbound.h"

struct request_opening {
    struct inbound_opening in;
    struct hbone_request *request; /* NULL once answered */
    struct inbound decision;
    bool decided;
    struct diag refusal;
};

static struct request_opening *of(struct inbound_conn *i)
{
    return container_of(i->opening, struct request_opening, in);
}

static void drop_decision(struct request_opening *x)
{
    if (x->decided) {
        inbound_fini(&x->decision);
        x->decided = false;
    }
}

static void plan_refused(struct request_opening *x, struct inbound_plan *out, unsigned status,
                         const char *text)
{
    (void)diag_note(&x->refusal, -ERR_AUTHORITY, "%s", text); /* noted for the log line */
    *out = (struct inbound_plan){.status = status, .detail = x->refusal.text};
}

static void add_proxy_header(struct inbound_conn *i, struct inbound *d)
{
    uint8_t header[PROXYPROTO_MAX];
    const struct identity *peer = i->from->peer;
    int n = proxyproto_write(header, &i->from->client, &d->proxy_dst, peer ? peer->uri : NULL);

    if (n > 0 && bytes_add(&i->opening->preface, header, (size_t)n) < 0) {
        d->status = 503; /* memory is short: better no connection than one without header */
    }
}

/* For the record. */
static void keep_authority(struct inbound_conn *i, const struct authority *a)
{
    i->asked_port = a->port;
    if (!ip_equal(&a->ip, &of(i)->decision.rbac_dst.ip)) {
        i->asked_host = mem_dup(a->host.p, a->host.len);
    }
}

static void request_plan(struct inbound_conn *i, struct inbound_plan *out)
{
    struct request_opening *x = of(i);
    const struct config *c = i->pod->plane->config;
    const struct hbone_head *head = hbone_request_head(x->request);
    struct inbound *d = &x->decision;
    struct authority a;

    if (!slice_is(head->method, "CONNECT")) {
        plan_refused(x, out, 400, "method is not CONNECT");
        return;
    }
    if (authority_parse(&a, head->authority.p, head->authority.len) < 0) {
        plan_refused(x, out, 400, "authority is not host:port");
        return;
    }
    struct inbound_query q = {.local = i->self,
                              .network = c->network,
                              .peer = i->from->client,
                              .tcp_dst = i->from->door.ip,
                              .authority_ip = a.ip,
                              .authority_host = a.host,
                              .authority_port = a.port,
                              .illegal_ports = c->illegal_ports,
                              .illegal_count = c->illegal_count,
                              .localhost_app_tunnel = c->localhost_app_tunnel};
    inbound_decide(d, plane_world(i->pod->plane), &q);
    x->decided = true;
    if (d->status == 200 && d->proxy_protocol) {
        add_proxy_header(i, d);
    }
    keep_authority(i, &a);
    *out = (struct inbound_plan){.status = d->status,
                                 .detail = d->detail.text,
                                 .rbac_dst = d->rbac_dst,
                                 .connect = d->connect,
                                 .keep_source = d->keep_source,
                                 .service = service_ref(d->service)};
}

static struct stream *request_accept(struct inbound_conn *i)
{
    AUTO(strbuf) struct strbuf baggage = {0};
    struct slice header = {NULL, 0};

    if (i->pod->plane->config->response_baggage) {
        workload_baggage(&baggage, i->self);
        header = (struct slice){strbuf_text(&baggage), baggage.len};
    }
    i->opening->plan.detail = NULL;
    drop_decision(of(i));
    return hbone_request_accept(MOVE(of(i)->request), header);
}

static void request_refuse(struct inbound_conn *i, unsigned status)
{
    hbone_request_refuse(MOVE(of(i)->request), status);
}

static void request_end(struct inbound_conn *i)
{
    struct request_opening *x = i->opening ? of(i) : NULL;

    if (x && x->request) {
        hbone_request_refuse(MOVE(x->request), 503);
    }
    if (x) {
        drop_decision(x);
    }
}

static const struct inbound_front request_front = {
    .protocol = "HBONE",
    .plan = request_plan,
    .accept = request_accept,
    .refuse = request_refuse,
    .end = request_end,
};

/* From another network: addresses may collide, so the source is known by its baggage alone (2.14). */
static bool is_foreign(const struct hbone_head *head, const char *own)
{
    return head->network.p && !(head->network.len == strlen(own) &&
                                strncasecmp(head->network.p, own, head->network.len) == 0);
}

void tunnel_request_open(struct pod *p, struct hbone_request *take_request,
                         struct inbound_origin *from)
{
    struct inbound_conn *i = mem_new(struct inbound_conn);
    struct request_opening *x = mem_new(struct request_opening);
    const struct hbone_head *head = hbone_request_head(take_request);
    struct forwarded forwarded = {.host = {NULL, 0}};

    x->request = take_request;
    i->opening = &x->in;
    i->from = inbound_origin_ref(from);
    if (head->forwarded.p) {
        forwarded_parse(&forwarded, head->forwarded.p, head->forwarded.len);
    }
    if (forwarded.host.len > 0 &&
        forwarded.host.len <= AUTHORITY_MAX) { /* kept for long: no more than a host's name */
        i->forwarded_host = mem_dup(forwarded.host.p, forwarded.host.len);
    }
    i->trust_source_ip = !is_foreign(head, p->plane->config->network);
    if (p->plane->config->response_baggage) {
        i->baggage = mem_new(struct baggage_side);
        baggage_side_set(i->baggage, head->baggage);
    }
    inbound_start(i, p, &request_front);
    hbone_request_own(take_request, &i->task);
}
