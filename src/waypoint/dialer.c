/* SPDX-License-Identifier: Apache-2.0 */
/* Ways to an endpoint: a tunnel as the waypoint itself to exactly that workload, or plain TCP. */
#include <string.h>

#include "codec/authority.h"
#include "hbone/pool.h"
#include "io/failed_stream.h"
#include "io/sock.h"
#include "io/tcp_stream.h"
#include "obs/labels.h"
#include "waypoint/upstream.h"

static const char *const alpn[] = {"h2"};

static struct stream *dial_tcp(struct engine *e, const struct endpoint *to, uint64_t limit_ms)
{
    struct diag why = {0};
    int fd = sock_open((enum ip_family)to->ip.family, SOCK_TYPE_STREAM, &why);

    if (fd < 0) {
        return failed_stream_new(fd, why.text);
    }
    (void)sock_set_nodelay(fd); /* a socket without it still works */
    return tcp_stream_connect(e->loop, fd, to, limit_ms);
}

static struct stream *open_secure(void *arg, const struct hbone_target *target)
{
    struct engine *e = arg;
    struct credential *credential = NULL;
    struct diag why = {0};
    int r = own_credential(&e->own, &credential, &why);

    if (r < 0) {
        return failed_stream_new(-ERR_UNAVAILABLE,
                                 why.code < 0 ? why.text : "own certificate is not there");
    }
    struct stream *tcp = dial_tcp(e, &target->gateway, UPSTREAM_CONNECT_MS);
    struct handshake_spec spec = {.role = TLS_MESH_CLIENT,
                                  .credential = credential,
                                  .expect = target->expect,
                                  .expect_count = target->expect_count,
                                  .alpn = alpn,
                                  .alpn_count = 1};
    uint64_t lane = 0;

    memcpy(&lane, target->gateway.ip.bytes, sizeof(lane));
    return tls_stream_new(e->tls, tcp, &spec, lane);
}

const struct hbone_dialer *upstream_dialer(struct engine *e, struct hbone_dialer *out)
{
    *out = (struct hbone_dialer){.open = open_secure, .arg = e};
    return out;
}

static struct stream *dial_tunnel(struct engine *e, const struct workload *w,
                                  const struct endpoint *at)
{
    AUTO(strbuf) struct strbuf baggage = {0};
    const struct workload *self = engine_self(e);
    const char *expect = w->identity->uri;
    char ip[IP_TEXT];
    char authority[AUTHORITY_TEXT];
    struct hbone_target t = {.gateway = {.ip = at->ip, .port = PORT_HBONE},
                             .local = e->identity->uri,
                             .expect = &expect,
                             .expect_count = 1};

    t.head.authority = slice_of(authority_format(ip_format(&at->ip, ip), at->port, authority));
    if (self) {
        workload_baggage(&baggage, self);
        t.head.baggage = (struct slice){strbuf_text(&baggage), baggage.len};
    }
    return hbone_dial(e->tunnels, &t);
}

/* What a name server says, or who writes a pod's status, must not lead to this pod's own ports, to what its node keeps
 * for itself (link-local: clouds keep a node's secrets there), or to nobody's address. Who serves on the loopback (plain listeners, to measure) may have servers there. */
static bool may_dial(struct engine *e, const struct ip *ip)
{
    bool own = ip_is_loopback(ip) && e->config->plain_count == 0;

    return !ip_is_unspecified(ip) && !ip_is_multicast(ip) && !own && !ip_is_link_local(ip);
}

/* What goes out to ourselves comes in again. Who serves on plain listeners may be the application's pod. */
static bool is_loop(struct engine *e, const struct ip *ip)
{
    return e->config->plain_count == 0 && engine_is_at(e, ip);
}

static int check(struct upstream *u, const struct ip *ip, struct diag *why)
{
    struct engine *e = upstream_engine(u);
    const char *name = u->workload->name;

    if (is_loop(e, ip)) {
        return FAIL(why, -ERR_DENIED, "a loop: %.200s has the address of this waypoint itself",
                    name);
    }
    return may_dial(e, ip)
               ? 0
               : FAIL(why, -ERR_DENIED, "%.200s has no address that may be dialled", name);
}

/* Any of the family; false: there is none. */
static bool draw(struct engine *e, const struct ip *ips, int n, enum ip_family family,
                 struct ip *out)
{
    uint64_t seen = 0;

    for (int i = 0; i < n; i++) {
        if (ips[i].family == family && may_dial(e, &ips[i]) &&
            rand_seq_below(&e->random, ++seen) == 0) {
            *out = ips[i];
        }
    }
    return seen > 0;
}

int upstream_address(struct upstream *u, struct host_wait *w, struct endpoint *out,
                     struct diag *why)
{
    struct engine *e = upstream_engine(u);
    const char *name = u->workload->hostname;
    const struct ip *ips = NULL;

    *out = u->at;
    if (u->at.ip.family != IP_NONE) {
        return check(u, &u->at.ip, why);
    }
    if (!e->hosts) {
        return FAIL(why, -ERR_UNAVAILABLE, "no name servers to ask for %.200s", name);
    }
    int n = host_names_find(e->hosts, name, &e->asked, w, &ips, why);
    if (n < 0) {
        return n;
    }
    if (draw(e, ips, n, IP_V4, &out->ip) || draw(e, ips, n, IP_V6, &out->ip)) {
        return check(u, &out->ip, why);
    }
    return FAIL(why, -ERR_DENIED, "%.200s has no address that may be dialled", name);
}

struct stream *upstream_dial(struct engine *e, const struct workload *w, const struct endpoint *at,
                             uint64_t limit_ms)
{
    return w->tunnel_protocol == TUNNEL_HBONE ? dial_tunnel(e, w, at) : dial_tcp(e, at, limit_ms);
}

int upstream_dial_ready(struct stream *s, const struct workload *w, unsigned *out_status)
{
    *out_status = 0;
    if (w->tunnel_protocol != TUNNEL_HBONE) {
        return stream_flush(s);
    }
    int r = hbone_dial_ready(s);
    if (r == -ERR_HTTP_STATUS) {
        *out_status = hbone_dial_status(s);
    }
    return r;
}
