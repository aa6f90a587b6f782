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

struct judgement {                 /* of a request */
    struct hbone_request *request; /* NULL once answered */
    struct inbound decision;
    bool decided;
    struct diag refusal;
};

struct tunnel_request {
    struct inbound_conn in;
    struct judgement *judgement; /* NULL once the answer was yes */
};
_Static_assert(sizeof(struct tunnel_request) <= 280, "per-connection memory is a budget");

static struct tunnel_request *of(struct inbound_conn *i)
{
    return container_of(i, struct tunnel_request, in);
}

static void drop_judgement(struct tunnel_request *x)
{
    if (x->judgement && x->judgement->decided) {
        inbound_fini(&x->judgement->decision);
    }
    mem_free(x->judgement);
    x->judgement = NULL;
}

static void plan_refused(struct tunnel_request *x, struct inbound_plan *out, unsigned status,
                         const char *text)
{
    (void)diag_note(&x->judgement->refusal, -ERR_AUTHORITY, "%s",
                    text); /* noted for the log line */
    *out = (struct inbound_plan){.status = status, .detail = x->judgement->refusal.text};
}

static void add_proxy_header(struct tunnel_request *x)
{
    uint8_t header[PROXYPROTO_MAX];
    int n = proxyproto_write(header, &x->in.client, &x->judgement->decision.proxy_dst,
                             x->in.peer ? x->in.peer->uri : NULL);

    if (n > 0 && bytes_add(&x->in.opening->preface, header, (size_t)n) < 0) {
        x->judgement->decision.status =
            503; /* memory is short: better no connection than one without header */
    }
}

static void request_plan(struct inbound_conn *i, struct inbound_plan *out)
{
    struct tunnel_request *x = of(i);
    const struct config *c = i->pod->plane->config;
    const struct hbone_head *head = hbone_request_head(x->judgement->request);
    struct inbound *d = &x->judgement->decision;
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
                              .peer = i->client,
                              .tcp_dst = i->door.ip,
                              .authority_ip = a.ip,
                              .authority_host = a.host,
                              .authority_port = a.port,
                              .illegal_ports = c->illegal_ports,
                              .illegal_count = c->illegal_count,
                              .localhost_app_tunnel = c->localhost_app_tunnel};
    inbound_decide(d, plane_world(i->pod->plane), &q);
    x->judgement->decided = true;
    if (d->status == 200 && d->proxy_protocol) {
        add_proxy_header(x);
    }
    *out = (struct inbound_plan){.status = d->status,
                                 .detail = d->detail.text,
                                 .rbac_dst = d->rbac_dst,
                                 .connect = d->connect,
                                 .keep_source = d->keep_source,
                                 .service = service_ref(d->service)};
}

static struct stream *request_accept(struct inbound_conn *i)
{
    struct tunnel_request *x = of(i);
    AUTO(strbuf) struct strbuf baggage = {0};
    struct slice header = {NULL, 0};

    if (i->pod->plane->config->response_baggage) {
        workload_baggage(&baggage, i->self);
        header = (struct slice){strbuf_text(&baggage), baggage.len};
    }
    struct stream *s = hbone_request_accept(x->judgement->request, header);
    i->opening->plan.detail = NULL;
    drop_judgement(x);
    return s;
}

static void request_refuse(struct inbound_conn *i, unsigned status)
{
    hbone_request_refuse(MOVE(of(i)->judgement->request), status);
}

static void request_free(struct inbound_conn *i)
{
    struct tunnel_request *x = of(i);

    if (x->judgement && x->judgement->request) {
        hbone_request_refuse(x->judgement->request, 503);
    }
    drop_judgement(x);
    mem_free(x);
}

static const struct inbound_front request_front = {
    .protocol = "HBONE",
    .plan = request_plan,
    .accept = request_accept,
    .refuse = request_refuse,
    .free = request_free,
};

/* From another network: addresses may collide, so the source is known by its baggage alone (2.14). */
static bool is_foreign(const struct hbone_head *head, const char *own)
{
    return head->network.p && !(head->network.len == strlen(own) &&
                                strncasecmp(head->network.p, own, head->network.len) == 0);
}

void tunnel_request_open(struct pod *p, struct hbone_request *take_request,
                         const struct tunnel_facts *facts)
{
    struct tunnel_request *x = mem_new(struct tunnel_request);
    const struct hbone_head *head = hbone_request_head(take_request);
    struct forwarded forwarded = {.host = {NULL, 0}};

    x->judgement = mem_new(struct judgement);
    x->judgement->request = take_request;
    x->in.hbone_addr =
        mem_dup(head->authority.len > 0 ? head->authority.p : "", head->authority.len);
    if (head->forwarded.p) {
        forwarded_parse(&forwarded, head->forwarded.p, head->forwarded.len);
    }
    if (forwarded.host.len > 0) {
        x->in.forwarded_host = mem_dup(forwarded.host.p, forwarded.host.len);
    }
    x->in.client = facts->client;
    x->in.door = facts->local;
    x->in.peer = identity_ref(facts->peer);
    x->in.trust_source_ip = !is_foreign(head, p->plane->config->network);
    if (p->plane->config->response_baggage) {
        x->in.baggage = mem_new(struct baggage_side);
        baggage_side_set(x->in.baggage, head->baggage);
    }
    inbound_start(&x->in, p, &request_front);
    hbone_request_own(take_request, &x->in.opening->task);
}
