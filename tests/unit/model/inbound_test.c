/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "mesh.h"
#include "model/route.h"
#include "t.h"

static const uint16_t illegal[] = {15001, 15006, 15008};

static void build(struct mesh *m)
{
    static const struct pod pods[] = {
        {.name = "web",
         .ips = "10.244.2.11,fd44:2::11",
         .services = "shop/web.local=82:9002,shop/named.local=80:9002,shop/wp.local=1:1"},
        {.name = "tun",
         .ips = "10.244.2.13,fd44:2::13",
         .tunnel = APP_TUNNEL_PROXY,
         .tunnel_port = 9100},
        {.name = "tun0", .ips = "10.244.2.14", .tunnel = APP_TUNNEL_PROXY},
        {.name = "none", .ips = "10.244.2.15", .tunnel = APP_TUNNEL_NONE, .tunnel_port = 9100},
        {.name = "behind", .ips = "10.244.9.9", .waypoint = "shop/wp.local:15008"},
        {.name = "behind2", .ips = "10.244.9.10", .waypoint = "|10.244.2.11:15008"},
        {.name = "behind3", .ips = "10.244.9.11", .waypoint = "|10.244.2.12:15008"},
        {.name = "other", .ips = "10.244.2.12"},
        {.name = "same", .ips = "10.96.0.22"},
    };
    static const struct svc svcs[] = {
        {.host = "web.local", .vips = "|10.96.0.10", .ports = "80:9002,81:0"},
        {.host = "named.local", .ports = "80:0"},
        {.host = "illegal.local", .ports = "80:15008"},
        {.host = "elsewhere.local", .ports = "80:9002"},
        {.host = "hidden.local", .ns = "other", .ports = "80:80", .hidden = true},
        {.host = "wp.local", .ports = "15008:15008"},
        {.host = "guarded.local", .vips = "|10.96.0.20", .waypoint = "shop/wp.local:15008"},
        {.host = "weighted.local", .vips = "|10.96.0.21", .weighted = "1*shop/wp.local:15008"},
        {.host = "weighted2.local",
         .vips = "|10.96.0.22",
         .weighted = "3*|10.244.2.12:15008,1*|10.244.2.11:15008"},
        {.host = "weighted3.local", .vips = "|10.96.0.23", .weighted = "1*|10.244.2.12:15008"},
        {.host = "tun.local",
         .vips = "net|10.96.1.17,|10.96.0.17,|fd96::17,|10.96.0.0/24",
         .ports = "80:8080"},
        {.host = "novip.local", .vips = "|10.99.0.0/16", .ports = "80:8080"},
        {.host = "far.local", .vips = "net|10.96.1.18", .ports = "80:8080"},
        {.host = "ported.local", .ports = "80:7777"},
    };

    mesh_init(m);
    for (size_t i = 0; i < ARRAY_LEN(pods); i++) {
        mesh_pod(m, &pods[i]);
    }
    for (size_t i = 0; i < ARRAY_LEN(svcs); i++) {
        mesh_svc(m, &svcs[i]);
    }
    mesh_commit(m);
}

struct row {
    const char *what, *local, *tcp_dst, *ip, *host; /* ip or host */
    uint16_t port;
    bool loopback;
    const char *want;
};

/* "200 rbac=... connect=... [proxy=...] [spoof] [svc]" or "STATUS TEXT" */
static void decide(const struct mesh *m, const struct row *row, struct strbuf *out)
{
    char uid[64], a[ENDPOINT_TEXT], b[ENDPOINT_TEXT], c[ENDPOINT_TEXT];
    struct inbound in;
    struct inbound_query q = {.network = "",
                              .tcp_dst = mesh_ip(row->tcp_dst),
                              .authority_host = slice_of(row->host ? row->host : ""),
                              .authority_port = row->port,
                              .illegal_ports = illegal,
                              .illegal_count = ARRAY_LEN(illegal),
                              .localhost_app_tunnel = row->loopback};

    (void)snprintf(uid, sizeof(uid), "c//Pod/shop/%s", row->local);
    q.local = world_workload(m->world, uid);
    if (row->ip) {
        q.authority_ip = mesh_ip(row->ip);
    }
    inbound_decide(&in, m->world, &q);
    strbuf_printf(out, "%u", in.status);
    if (in.status != 200) {
        strbuf_printf(out, " %s", in.detail.text);
    } else {
        strbuf_printf(out, " %s > %s", endpoint_format(&in.rbac_dst, a),
                      endpoint_format(&in.connect, b));
        if (in.proxy_protocol) {
            strbuf_printf(out, " proxy %s", endpoint_format(&in.proxy_dst, c));
        }
        strbuf_printf(out, "%s%s%s", in.keep_source ? "" : " no-spoof", in.service ? " " : "",
                      in.service ? in.service->hostname : "");
    }
    inbound_fini(&in);
}

/* Contract 2.6, 2.12, 2.13, 3.4; the addresses are those of the recordings where there is one. */
TEST(what_a_connect_may_reach)
{
    static const struct row rows[] = {
        {"own address", "web", "10.244.2.11", "10.244.2.11", NULL, 9002, false,
         "200 10.244.2.11:9002 > 10.244.2.11:9002"},
        {"port 0 goes on to the connect", "web", "10.244.2.11", "10.244.2.11", NULL, 0, false,
         "200 10.244.2.11:0 > 10.244.2.11:0"},
        {"other pod", "web", "10.244.2.11", "10.244.2.12", NULL, 9002, false,
         "400 ip mismatch: 10.244.2.11 != 10.244.2.12"},
        {"unknown", "web", "10.244.2.11", "192.0.2.1", NULL, 9002, false,
         "400 ip mismatch: 10.244.2.11 != 192.0.2.1"},
        {"own VIP", "web", "10.244.2.11", "10.96.0.10", NULL, 80, false,
         "400 ip mismatch: 10.244.2.11 != 10.96.0.10"},
        {"loopback", "web", "10.244.2.11", "127.0.0.1", NULL, 9002, false,
         "400 ip mismatch: 10.244.2.11 != 127.0.0.1"},
        {"own other address", "web", "10.244.2.11", "fd44:2::11", NULL, 9002, false,
         "400 ip mismatch: 10.244.2.11 != fd44:2::11"},
        {"illegal port", "web", "10.244.2.11", "10.244.2.11", NULL, 15008, false,
         "503 attempted recursive call to ourselves: port 15008"},
        {"15080 is not illegal", "web", "10.244.2.11", "10.244.2.11", NULL, 15080, false,
         "200 10.244.2.11:15080 > 10.244.2.11:15080"},
        {"mismatch beats illegal port", "web", "10.244.2.11", "10.244.2.12", NULL, 15008, false,
         "400 ip mismatch: 10.244.2.11 != 10.244.2.12"},
        {"behind us, our service is its waypoint", "web", "10.244.2.11", "10.244.9.9", NULL, 9002,
         false, "200 10.244.2.11:9002 > 10.244.2.11:9002"},
        {"behind us, our address is its waypoint", "web", "10.244.2.11", "10.244.9.10", NULL, 9002,
         false, "200 10.244.2.11:9002 > 10.244.2.11:9002"},
        {"behind somebody else", "web", "10.244.2.11", "10.244.9.11", NULL, 9002, false,
         "400 ip mismatch: 10.244.2.11 != 10.244.9.11"},
        {"a service behind us", "web", "10.244.2.11", "10.96.0.20", NULL, 9002, false,
         "200 10.244.2.11:9002 > 10.244.2.11:9002"},
        {"a service behind us by weight", "web", "10.244.2.11", "10.96.0.21", NULL, 9002, false,
         "200 10.244.2.11:9002 > 10.244.2.11:9002"},
        {"a service behind us by weight, with a workload at its address", "web", "10.244.2.11",
         "10.96.0.22", NULL, 9002, false, "200 10.244.2.11:9002 > 10.244.2.11:9002"},
        {"a service behind somebody else by weight", "web", "10.244.2.11", "10.96.0.23", NULL, 9002,
         false, "400 ip mismatch: 10.244.2.11 != 10.96.0.23"},
        {"hostname, own map", "web", "10.244.2.11", NULL, "web.local", 82, false,
         "200 10.244.2.11:9002 > 10.244.2.11:9002 web.local"},
        {"hostname, service's target", "web", "10.244.2.11", NULL, "web.local", 80, false,
         "200 10.244.2.11:9002 > 10.244.2.11:9002 web.local"},
        {"hostname, named port", "web", "10.244.2.11", NULL, "named.local", 80, false,
         "200 10.244.2.11:9002 > 10.244.2.11:9002 named.local"},
        {"hostname, port not resolvable", "web", "10.244.2.11", NULL, "web.local", 81, false,
         "503 cannot resolve the port of the requested service: web.local:81"},
        {"hostname, unknown", "web", "10.244.2.11", NULL, "nope.example.com", 80, false,
         "503 no service or workload for hostname: nope.example.com"},
        {"hostname, empty", "web", "10.244.2.11", NULL, "", 9002, false,
         "503 no service or workload for hostname"},
        {"hostname, hidden", "web", "10.244.2.11", NULL, "hidden.local", 80, false,
         "503 no service or workload for hostname: hidden.local"},
        {"hostname, address with userinfo", "web", "10.244.2.11", NULL, "10.244.2.11", 9002, false,
         "503 no service or workload for hostname: 10.244.2.11"},
        {"hostname, illegal target", "web", "10.244.2.11", NULL, "illegal.local", 80, false,
         "503 attempted recursive call to ourselves: port 15008"},
        {"hostname, not its endpoint", "web", "10.244.2.11", NULL, "elsewhere.local", 80, false,
         "200 10.244.2.11:9002 > 10.244.2.11:9002 elsewhere.local"},
        {"tunnel, any address", "tun", "10.244.2.13", "198.51.100.7", NULL, 80, false,
         "200 10.244.2.13:9100 > 10.244.2.13:9100 proxy 198.51.100.7:80"},
        {"tunnel, illegal port even if overridden", "tun", "10.244.2.13", "198.51.100.7", NULL,
         15008, false, "503 attempted recursive call to ourselves: port 15008"},
        {"tunnel without port", "tun0", "10.244.2.14", "198.51.100.7", NULL, 80, false,
         "200 10.244.2.14:80 > 10.244.2.14:80 proxy 198.51.100.7:80"},
        {"tunnel, hostname: own network, then IPv4", "tun", "10.244.2.13", NULL, "tun.local", 80,
         false, "200 10.244.2.13:9100 > 10.244.2.13:9100 proxy 10.96.0.17:80 tun.local"},
        {"tunnel, hostname: other network", "tun", "10.244.2.13", NULL, "far.local", 80, false,
         "200 10.244.2.13:9100 > 10.244.2.13:9100 proxy 10.96.1.18:80 far.local"},
        {"tunnel, hostname without VIP", "tun", "10.244.2.13", NULL, "novip.local", 80, false,
         "503 requested service has no IP addresses: novip.local"},
        {"tunnel over loopback", "tun", "10.244.2.13", "10.244.2.13", NULL, 80, true,
         "200 10.244.2.13:9100 > 127.0.0.1:9100 proxy 10.244.2.13:80 no-spoof"},
        {"tunnel over loopback, IPv6", "tun", "fd44:2::13", "10.244.2.13", NULL, 80, true,
         "200 [fd44:2::13]:9100 > [::1]:9100 proxy 10.244.2.13:80 no-spoof"},
        {"tunnel NONE", "none", "10.244.2.15", "198.51.100.7", NULL, 80, true,
         "200 10.244.2.15:9100 > 10.244.2.15:9100"},
        {"tunnel NONE, hostname without VIP", "none", "10.244.2.15", NULL, "novip.local", 80, false,
         "200 10.244.2.15:9100 > 10.244.2.15:9100 novip.local"},
    };
    AUTO(mesh) struct mesh m;

    build(&m);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        AUTO(strbuf) struct strbuf got = {0};
        decide(&m, &rows[i], &got);
        printf("# %s\n", rows[i].what);
        CHECK_STR(got.p, rows[i].want);
    }
}

TEST(which_service_an_inbound_connection_is_counted_under)
{
    static const struct {
        const char *forwarded;
        uint16_t port;
        const char *want;
    } rows[] = {
        {"named.local", 9002, "named.local"},
        {"web.local", 9002, "web.local"},
        {"elsewhere.local", 9002, "named.local"},
        {NULL, 9002, "named.local"}, /* although web.local was told first */
        {NULL, 1, "wp.local"},
        {NULL, 15008, "wp.local"},
        {NULL, 4444, "none"},
        {"web.local", 4444, "web.local"},
        {NULL, 0, "none"},
    };
    AUTO(mesh) struct mesh m;

    build(&m);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const struct service *s = inbound_service(
            m.world, world_workload(m.world, "c//Pod/shop/web"), rows[i].forwarded, rows[i].port);
        printf("# row %zu\n", i);
        CHECK_STR(s ? s->hostname : "none", rows[i].want);
    }
}
