/* SPDX-License-Identifier: Apache-2.0 */
#include "waypoint/arrival.h"

#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "codec/authority.h"
#include "codec/forwarded.h"
#include "io/sock.h"
#include "io/tcp_stream.h"
#include "waypoint/inlet.h"
#include "waypoint/opening.h"
#include "waypoint/passage.h"

static struct log_scope scope = LOG_SCOPE("access");

/* ---- whose it is */

static bool is_bound(const struct engine *e, const struct service *s)
{
    const struct l7 *l7 = engine_l7(e);
    const struct l7_service *bound = s && l7 ? l7_service_find(l7, s->key) : NULL;

    return bound && bound->binding;
}

/* Of services that share an address, the one that the client's proxy names goes first. */
static const struct service *service_at(const struct engine *e, const struct ip *ip,
                                        const struct identity *peer, struct slice host)
{
    const struct world *w = engine_world(e);
    const char *client_ns = peer ? peer->ns : "";

    if (host.len > 0) {
        AUTO(text) char *name = mem_dup(host.p, host.len);
        struct host_query q = {.client_ns = client_ns};
        const struct service *named = world_service_for_host(w, name, &q);
        if (named && service_has_vip(named, e->config->network, ip) && is_bound(e, named)) {
            return named;
        }
    }
    const struct service *s = world_service_at(w, e->config->network, ip, client_ns);
    return is_bound(e, s) ? s : NULL;
}

/* A workload's waypoint is named by host name or by address; either may mean us. */
static bool is_our_workload(const struct engine *e, const struct workload *w)
{
    const struct gateway *g = w->waypoint;

    if (!gateway_is_set(g)) {
        return false;
    }
    if (g->kind == GATEWAY_HOSTNAME) {
        return strcmp(g->ns, e->config->ns) == 0 && strcmp(g->hostname, e->config->hostname) == 0;
    }
    const struct service *own =
        world_service_named(engine_world(e), e->config->ns, e->config->hostname);
    return own && service_has_vip(own, g->network, &g->ip);
}

enum arrival_verdict {
    ARRIVAL_SERVICE,
    ARRIVAL_WORKLOAD,
    ARRIVAL_NOT_OURS, /* 400 */
    ARRIVAL_NO_PORT,  /* 404 */
    ARRIVAL_LOOP,     /* 508: a replica of this waypoint, or itself, is who asks */
    ARRIVAL_GUARDED, /* 403: a pod's port that is only served by its service, for that has policy */
};

static bool is_reserved(uint16_t port)
{
    return port == PORT_HBONE || port == 15001 || port == 15006 || port == 0;
}

/* We send to endpoints; what comes back from there was led here by configuration. */
static bool is_from_us(const struct engine *e, const struct entry *facts)
{
    const struct world *w = engine_world(e);
    struct world_cursor cursor = {0};
    struct backend b;

    if (!facts->peer || !identity_equal(facts->peer, e->identity)) {
        return false;
    }
    const struct service *own = world_service_named(w, e->config->ns, e->config->hostname);
    while (own && world_each_backend(w, own->key, &cursor, &b)) {
        if (identity_equal(b.workload->identity, e->identity) &&
            workload_has_ip(b.workload, &facts->client.ip)) {
            return true;
        }
    }
    return false;
}

/* Fills service, workload and protocol of facts, with references; its destination is set. host is
 * what the client's proxy says was asked for, or empty: where services share an address. Pure but
 * for the engine's snapshots. */
static enum arrival_verdict find(struct engine *e, struct entry *facts, struct slice host)
{
    const struct endpoint *to = &facts->destination;

    if (!engine_world(e)) { /* nobody has told us anything yet */
        return ARRIVAL_NOT_OURS;
    }
    if (is_from_us(e, facts)) {
        return ARRIVAL_LOOP;
    }
    const struct service *s = service_at(e, &to->ip, facts->peer, host);
    if (s) {
        const struct l7_port *port =
            l7_service_port(l7_service_find(engine_l7(e), s->key), to->port);
        facts->service = service_ref(s);
        facts->protocol = port ? port->protocol : L7_UNKNOWN;
        return port ? ARRIVAL_SERVICE : ARRIVAL_NO_PORT;
    }
    const struct workload *w = world_workload_at(engine_world(e), e->config->network, &to->ip);
    if (!w || !is_our_workload(e, w) || is_reserved(to->port) || engine_is_at(e, &to->ip)) {
        return ARRIVAL_NOT_OURS;
    }
    if (workload_is_guarded(w, to->port)) {
        return ARRIVAL_GUARDED;
    }
    facts->workload = workload_ref(w);
    facts->protocol = L7_UNKNOWN;
    return ARRIVAL_WORKLOAD;
}

/* ---- arriving */

/* A workload that is known says everything that its proxy's baggage could. */
static void learn_source(struct engine *e, struct entry *facts, struct slice baggage)
{
    facts->source =
        workload_ref(world_workload_at(engine_world(e), e->config->network, &facts->client.ip));
    if (!facts->source && baggage.len > 0) {
        facts->baggage = mem_new(struct baggage_side);
        baggage_side_set(facts->baggage, baggage);
    }
}

static void refuse(struct engine *e, struct hbone_request *request, const struct entry *facts,
                   unsigned status, const char *error)
{
    struct slice authority = hbone_request_head(request)->authority;
    char from[ENDPOINT_TEXT];

    (void)e;
    log_warn(&scope, "request refused", F_STR("src.addr", endpoint_format(&facts->client, from)),
             F_QUOTED("src.identity", facts->peer ? facts->peer->uri : "-"),
             F_SLICE("dst.hbone_addr", authority), F_U64("status", status),
             F_QUOTED("error", error));
    hbone_request_refuse(request, status);
}

/* Who asks for what, as the CONNECT says it: 0, or the status to refuse with. */
static unsigned read_head(const struct hbone_head *head, struct entry *facts,
                          struct forwarded *forwarded, const char **error)
{
    struct authority a;

    if (!slice_is(head->method, "CONNECT")) {
        *error = "method is not CONNECT";
        return 405;
    }
    if (authority_parse(&a, head->authority.p, head->authority.len) < 0) {
        *error = "authority is not host:port";
        return 400;
    }
    if (a.ip.family == IP_NONE) {
        *error = "a host name is only served across networks";
        return 400;
    }
    facts->destination = (struct endpoint){.ip = a.ip, .port = a.port};
    if (head->forwarded.p) {
        forwarded_parse(forwarded, head->forwarded.p, head->forwarded.len);
    }
    return 0;
}

void arrival_open(struct inlet *i, struct hbone_request *take_request)
{
    const struct hbone_head *head = hbone_request_head(take_request);
    struct forwarded forwarded = {.host = {NULL, 0}};
    const char *error = NULL;
    struct entry facts = {
        .engine = i->engine, .client = i->client, .door = i->local, .peer = identity_ref(i->peer)};
    unsigned status = read_head(head, &facts, &forwarded, &error);

    if (status == 0) {
        static const struct {
            unsigned status;
            const char *error;
        } verdicts[] = {
            [ARRIVAL_SERVICE] = {0, NULL},
            [ARRIVAL_WORKLOAD] = {0, NULL},
            [ARRIVAL_NOT_OURS] = {400, "this waypoint does not serve that address"},
            [ARRIVAL_NO_PORT] = {404, "the service has no such port"},
            [ARRIVAL_LOOP] = {508, "a loop: this waypoint's own request came back to it"},
            [ARRIVAL_GUARDED] = {403, "policy of its service guards the pod's port: "
                                      "connect to the service"}};
        enum arrival_verdict v = find(i->engine, &facts, forwarded.host);
        status = verdicts[v].status;
        error = verdicts[v].error;
    }
    if (status == 0 && i->engine->entry_count >= ENTRIES_MAX) {
        status = 503;
        error = "too many connections";
    }
    if (status > 0) {
        refuse(i->engine, take_request, &facts, status, error);
        entry_drop(&facts);
        return;
    }
    learn_source(i->engine, &facts, head->baggage);
    if (facts.protocol == L7_TCP || facts.protocol == L7_TLS) {
        passage_open_request(&facts, take_request);
    } else {
        opening_start(&facts, hbone_request_accept(take_request, (struct slice){NULL, 0}));
    }
}

void arrival_open_plain(struct engine *e, int take_fd, const struct endpoint *peer,
                        const struct plain_listener *at)
{
    struct entry facts = {.engine = e, .client = *peer, .destination = at->to, .plain = true};
    int r = sock_local(take_fd, &facts.door);

    (void)sock_set_nodelay(take_fd); /* a socket without it still works */
    if (r == 0 && find(e, &facts, (struct slice){NULL, 0}) > ARRIVAL_WORKLOAD) {
        access_refused(e->recorder, ACCESS_WAYPOINT, peer, &at->to, -ERR_NOT_FOUND,
                       "this waypoint does not serve that address");
        r = -ERR_NOT_FOUND;
    }
    if (r < 0 || e->entry_count >= ENTRIES_MAX) {
        sock_close(&take_fd);
        entry_drop(&facts);
        atomic_fetch_sub_explicit(&e->load, 1, memory_order_relaxed);
        return;
    }
    learn_source(e, &facts, (struct slice){NULL, 0});
    struct stream *s = tcp_stream_new(e->loop, take_fd);
    if (facts.protocol == L7_TCP || facts.protocol == L7_TLS) {
        passage_open(&facts, s);
    } else {
        opening_start(&facts, s);
    }
}
