/* SPDX-License-Identifier: Apache-2.0 */
#include "model/route.h"

#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "mesh.h"
#include "t.h"

static const uint16_t illegal[] = {15001, 15006, 15008};

/* One mesh for all rows: what there is stands here, what is dialled in the rows. */
static void build(struct mesh *m)
{
    static const struct pod pods[] = {
        {.name = "client", .ips = "10.1.0.1,fd00:1::1", .hbone = true},
        {.name = "web",
         .ips = "10.1.0.2,fd00:1::2",
         .hbone = true,
         .sa = "web",
         .services = "shop/web.local=80:8080,shop/canary.local=80:8080"},
        {.name = "plain", .ips = "10.1.0.3", .services = "shop/plain.local=80:8080"},
        {.name = "guarded",
         .ips = "10.1.0.4",
         .hbone = true,
         .waypoint = "|10.1.0.5:15008",
         .services = "shop/guarded.local=80:8080"},
        {.name = "wp",
         .ips = "10.1.0.5,fd00:1::5",
         .hbone = true,
         .sa = "wp",
         .services = "shop/wp.local=15008:15009"},
        {.name = "byname", .ips = "10.1.0.6", .hbone = true, .waypoint = "shop/wp.local:15008"},
        {.name = "lost", .ips = "10.1.0.7", .hbone = true, .waypoint = "|10.1.0.99:15008"},
        {.name = "host", .ips = "10.1.0.8", .hbone = true, .host_network = true},
        {.name = "far",
         .ips = "10.1.0.2",
         .network = "net2",
         .hbone = true,
         .gateway = "net2|10.2.0.1:15008",
         .services = "shop/far.local=80:8080"},
        {.name = "egw", .ips = "10.2.0.1", .network = "net2", .hbone = true, .sa = "egw"},
        {.name = "farlost",
         .ips = "10.9.0.2",
         .network = "net3",
         .services = "shop/farlost.local=80:1"},
        {.name = "farbad",
         .ips = "10.9.0.3",
         .network = "net3",
         .gateway = "net3|10.9.9.9:1",
         .services = "shop/farbad.local=80:1"},
        {.name = "dns",
         .hbone = true,
         .hostname = "db.example",
         .services = "shop/dns.local=80:5432"},
        {.name = "plaindns",
         .hostname = "plain.example",
         .services = "shop/plaindns.local=80:5432"},
        {.name = "farwp",
         .network = "net2",
         .ips = "10.2.0.7",
         .hbone = true,
         .gateway = "net2|10.2.0.1:15008",
         .services = "shop/farwp.local=15008:15008"},
        {.name = "both", .ips = "10.96.0.8", .hbone = true},
        {.name = "both2", .ips = "10.96.0.21", .hbone = true},
        {.name = "both3", .ips = "10.96.0.22", .hbone = true},
        {.name = "farguarded", .ips = "10.1.0.10", .waypoint = "shop/farwp.local:15008"},
        {.name = "sickwp",
         .ips = "10.1.0.12",
         .unhealthy = true,
         .services = "shop/sickwp.local=15008:15008"},
        {.name = "sickly", .ips = "10.1.0.11", .waypoint = "shop/sickwp.local:15008"},
        {.name = "wphost", .hostname = "wp.example", .hbone = true},
        {.name = "guarded2", .ips = "10.1.0.9", .hbone = true, .waypoint = "shop/wp.example:15011"},
        {.name = "v6only",
         .ips = "fd00:1::9",
         .hbone = true,
         .services = "shop/v6.local=80:8080,shop/v4only.local=80:8080"},
    };
    static const struct svc svcs[] = {
        {.host = "web.local",
         .vips = "|10.96.0.1,|fd96::1",
         .ports = "80:8080,81:0",
         .sans = "spiffe://cluster.local/ns/shop/sa/extra,junk"},
        {.host = "plain.local", .vips = "|10.96.0.2", .ports = "80:8080"},
        {.host = "guarded.local",
         .vips = "|10.96.0.3",
         .ports = "80:8080",
         .waypoint = "shop/wp.local:15008"},
        {.host = "wp.local",
         .vips = "|10.96.0.4",
         .ports = "15008:15009",
         .sans = "spiffe://cluster.local/ns/shop/sa/wpsan"},
        {.host = "far.local",
         .vips = "|10.96.0.5",
         .ports = "80:8080",
         .sans = "spiffe://cluster.local/ns/shop/sa/far"},
        {.host = "farlost.local", .vips = "|10.96.0.6", .ports = "80:1"},
        {.host = "farbad.local", .vips = "|10.96.0.7", .ports = "80:1"},
        {.host = "both.local", .vips = "|10.96.0.8", .ports = "80:1", .waypoint = "|10.1.0.99:1"},
        {.host = "both2.local",
         .vips = "|10.96.0.21",
         .ports = "80:1",
         .waypoint = "shop/wp.local:15008"},
        {.host = "both3.local", .vips = "|10.96.0.22", .ports = "80:1"},
        {.host = "canary.local",
         .vips = "|10.96.0.23",
         .ports = "80:8080",
         .weighted = "9*|10.1.0.2:15008,1*shop/wp.local:15008"},
        {.host = "badcanary.local",
         .vips = "|10.96.0.24",
         .ports = "80:8080",
         .weighted = "1*|10.1.0.99:15008",
         .waypoint = "shop/wp.local:15008"},
        {.host = "sickwp.local", .ports = "15008:15008"},
        {.host = "pass.local", .vips = "|10.96.0.9", .ports = "80:1", .mode = BALANCE_PASSTHROUGH},
        {.host = "passwp.local",
         .vips = "|10.96.0.10",
         .ports = "80:1",
         .mode = BALANCE_PASSTHROUGH,
         .waypoint = "|10.96.0.4:15008"},
        {.host = "nobody.local", .vips = "|10.96.0.11", .ports = "80:1"},
        {.host = "dns.local", .vips = "|10.96.0.12", .ports = "80:5432"},
        {.host = "plaindns.local", .vips = "|10.96.0.20", .ports = "80:5432"},
        {.host = "viafar.local",
         .vips = "|10.96.0.13",
         .ports = "80:1",
         .waypoint = "shop/farwp.local:15008",
         .sans = "spiffe://cluster.local/ns/shop/sa/viafar"},
        {.host = "farwp.local", .ports = "15008:15008"},
        {.host = "nowp.local",
         .vips = "|10.96.0.14",
         .ports = "80:1",
         .waypoint = "shop/none.local:1"},
        {.host = "emptywp.local",
         .vips = "|10.96.0.15",
         .ports = "80:1",
         .waypoint = "shop/nobody.local:80"},
        {.host = "cidr.local", .vips = "|10.97.0.0/16", .ports = "80:8080"},
        {.host = "v6.local", .vips = "|10.96.0.16", .ports = "80:8080"},
        {.host = "v4only.local",
         .vips = "|10.96.0.17",
         .ports = "80:8080",
         .families = FAMILIES_IPV4},
        {.host = "hidden.local",
         .ns = "prod",
         .vips = "|10.96.0.18",
         .ports = "80:1",
         .hidden = true},
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

static void add_ids(struct strbuf *out, const struct identity *const *ids, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        strbuf_printf(out, "%s%s", i > 0 ? "," : "", ids[i]->service_account);
    }
}

/* "KIND TCP authority=... expect=... inner=... svc=... wl=..." or "deny TEXT". */
static void describe(const struct route *r, struct strbuf *out)
{
    static const char *const kinds[] = {"deny", "pass", "tcp", "hbone", "waypoint", "double"};
    char text[ENDPOINT_TEXT];

    strbuf_clear(out);
    strbuf_printf(out, "%s", kinds[r->kind]);
    if (r->kind == ROUTE_DENY) {
        strbuf_printf(out, " %s", r->detail.text);
        return;
    }
    if (r->resolve) {
        strbuf_printf(out, " %s:%u", r->resolve, r->tcp.port);
    } else {
        strbuf_printf(out, " %s", endpoint_format(&r->tcp, text));
    }
    if (r->expect_count > 0) {
        strbuf_printf(out, " %s [", r->authority[0] != '\0' ? r->authority : "?");
        add_ids(out, r->expect, r->expect_count);
        strbuf_puts(out, "]");
    }
    if (r->kind == ROUTE_DOUBLE) {
        strbuf_puts(out, " [");
        add_ids(out, r->inner_expect, r->inner_expect_count);
        strbuf_puts(out, "]");
    }
    strbuf_printf(out, " %s>%s", r->service ? r->service->hostname : "-",
                  r->workload ? r->workload->name : "-");
}

struct row {
    const char *what, *dst, *want;
    const char *from; /* NULL: the pod "client" */
    const char *src;  /* NULL: its address in dst's family */
};

static void route_row(const struct mesh *m, const struct row *row, struct route *r)
{
    char uid[64];
    bool v6 = row->dst[0] == '[';
    struct route_query q = {
        .network = "", .illegal_ports = illegal, .illegal_count = ARRAY_LEN(illegal), .seed = 7};

    (void)snprintf(uid, sizeof(uid), "c//Pod/shop/%s", row->from ? row->from : "client");
    q.source = world_workload(m->world, uid);
    q.src.ip = mesh_ip(row->src ? row->src : v6 ? "fd00:1::1" : "10.1.0.1");
    if (endpoint_parse(&q.dst, row->dst, strlen(row->dst)) == 0 && q.source) {
        route_decide(r, m->world, &q);
    }
}

/* Contract 3.2, step by step. */
TEST(where_connections_go)
{
    static const struct row rows[] = {
        {"3 own port on loopback", "127.0.0.1:15001",
         "deny attempted recursive call to ourselves: port 15001"},
        {"3 other port on loopback", "127.0.0.1:80", "pass 127.0.0.1:80 ->-"},
        {"3 that port elsewhere", "192.0.2.1:15001", "pass 192.0.2.1:15001 ->-"},
        {"8 unknown", "192.0.2.1:443", "pass 192.0.2.1:443 ->-"},
        {"12 pod, HBONE", "10.1.0.2:9000", "hbone 10.1.0.2:15008 10.1.0.2:9000 [web] ->web"},
        {"12 pod, HBONE, IPv6", "[fd00:1::2]:9000",
         "hbone [fd00:1::2]:15008 [fd00:1::2]:9000 [web] ->web"},
        {"12 pod, TCP", "10.1.0.3:9000", "tcp 10.1.0.3:9000 ->plain"},
        {"12 service", "10.96.0.1:80",
         "hbone 10.1.0.2:15008 10.1.0.2:8080 [extra,web] web.local>web"},
        {"12 service, IPv6 VIP", "[fd96::1]:80",
         "hbone [fd00:1::2]:15008 [fd00:1::2]:8080 [extra,web] web.local>web"},
        {"12 service, TCP", "10.96.0.2:80", "tcp 10.1.0.3:8080 plain.local>plain"},
        {"8 service, port unknown", "10.96.0.1:82", "deny no healthy upstream: 10.96.0.1:82"},
        {"8 service, named port unknown", "10.96.0.1:81", "deny no healthy upstream: 10.96.0.1:81"},
        {"8 service without endpoints", "10.96.0.11:80", "deny no healthy upstream: 10.96.0.11:80"},
        {"8 CIDR VIP without endpoints", "10.97.3.4:80", "deny no healthy upstream: 10.97.3.4:80"},
        {"7 passthrough service", "10.96.0.9:80", "pass 10.96.0.9:80 pass.local>-"},
        {"6 passthrough service with waypoint", "10.96.0.10:80",
         "waypoint 10.1.0.5:15009 10.96.0.10:80 [wpsan,wp] passwp.local>-"},
        {"hidden service", "10.96.0.18:80", "pass 10.96.0.18:80 ->-"},
        {"host network", "10.1.0.8:80", "pass 10.1.0.8:80 ->-"},
        {"11 workload waypoint by address", "10.1.0.4:80",
         "waypoint 10.1.0.5:15008 10.1.0.4:80 [wp] ->guarded"},
        {"11 workload waypoint by name", "10.1.0.6:80",
         "waypoint 10.1.0.5:15009 10.1.0.6:80 [wpsan,wp] ->byname"},
        {"11 workload waypoint, a workload's name", "10.1.0.9:80",
         "waypoint wp.example:15011 10.1.0.9:80 [wphost-sa] ->guarded2"},
        {"11 unknown waypoint", "10.1.0.7:80", "deny unknown waypoint: of c//Pod/shop/lost"},
        {"10 from the waypoint", "10.1.0.4:80",
         "hbone 10.1.0.4:15008 10.1.0.4:80 [guarded-sa] ->guarded", "wp", "10.1.0.5"},
        {"10 from the waypoint, by name", "10.1.0.6:80",
         "hbone 10.1.0.6:15008 10.1.0.6:80 [byname-sa] ->byname", "wp", "10.1.0.5"},
        {"10 its identity, another address", "10.1.0.4:80",
         "waypoint 10.1.0.5:15008 10.1.0.4:80 [wp] ->guarded", "wp", "10.1.0.66"},
        {"10 its address, another identity", "10.1.0.4:80",
         "waypoint 10.1.0.5:15008 10.1.0.4:80 [wp] ->guarded", "client", "10.1.0.5"},
        {"6 service waypoint", "10.96.0.3:80",
         "waypoint 10.1.0.5:15009 10.96.0.3:80 [wpsan,wp] guarded.local>-"},
        {"6 unknown waypoint", "10.96.0.14:80", "deny unknown waypoint: of shop/nowp.local"},
        {"6 waypoint without endpoints", "10.96.0.15:80",
         "deny no healthy waypoint upstream: of shop/emptywp.local"},
        {"6 from the service's waypoint", "10.96.0.3:80",
         "hbone 10.1.0.4:15008 10.1.0.4:8080 [guarded-sa] guarded.local>guarded", "wp", "10.1.0.5"},
        {"6 its identity, another address", "10.96.0.3:80",
         "waypoint 10.1.0.5:15009 10.96.0.3:80 [wpsan,wp] guarded.local>-", "wp", "10.1.0.66"},
        {"6 from one of the weighted waypoints", "10.96.0.23:80",
         "hbone 10.1.0.2:15008 10.1.0.2:8080 [web] canary.local>web", "wp", "10.1.0.5"},
        {"6 a weighted waypoint is unknown", "10.96.0.24:80",
         "deny unknown waypoint: of shop/badcanary.local"},
        {"5 finds a workload, 7 a service: its waypoint is unknown", "10.96.0.8:80",
         "deny unknown waypoint: of shop/both.local"},
        {"5 finds a workload, 7 a service: through its waypoint", "10.96.0.21:80",
         "waypoint 10.1.0.5:15009 10.96.0.21:80 [wpsan,wp] both2.local>-"},
        {"5 finds a workload, 7 a service: from its waypoint", "10.96.0.21:80",
         "deny no healthy upstream: 10.96.0.21:80", "wp", "10.1.0.5"},
        {"5 finds a workload, 7 a service without endpoints", "10.96.0.22:80",
         "deny no healthy upstream: 10.96.0.22:80"},
        {"11 waypoint on another network", "10.1.0.10:80",
         "deny only service traffic may cross networks: waypoint c//Pod/shop/farwp is on network "
         "'net2'"},
        {"11 sick waypoint", "10.1.0.11:80",
         "deny no healthy waypoint upstream: of c//Pod/shop/sickly"},
        {"9 another network", "10.96.0.5:80",
         "double 10.2.0.1:15008 far.local:80 [egw] [far] far.local>far"},
        {"9 no gateway", "10.96.0.6:80",
         "deny no network gateway to the other network: c//Pod/shop/farlost is on network 'net3'"},
        {"9 gateway unknown", "10.96.0.7:80",
         "deny no network gateway to the other network: of network 'net3'"},
        {"6 waypoint on another network", "10.96.0.13:80",
         "double 10.2.0.1:15008 viafar.local:80 [egw] [viafar] viafar.local>farwp"},
        {"on-demand DNS", "10.96.0.12:80", "hbone db.example:15008 ? [dns-sa] dns.local>dns"},
        {"no address of an allowed family", "10.96.0.17:80",
         "deny workload has no address: c//Pod/shop/v6only"},
        {"other family if need be", "10.96.0.16:80",
         "hbone [fd00:1::9]:15008 [fd00:1::9]:8080 [v6only-sa] v6.local>v6only"},
    };
    AUTO(mesh) struct mesh m;

    build(&m);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        AUTO(strbuf) struct strbuf got = {0};
        struct route r = {0};
        route_row(&m, &rows[i], &r);
        describe(&r, &got);
        route_fini(&r);
        printf("# %s\n", rows[i].what);
        CHECK_STR(got.p, rows[i].want);
    }
}

TEST(the_target_port_is_what_the_far_end_will_see)
{
    static const struct {
        const char *dst;
        unsigned want;
    } rows[] = {
        {"192.0.2.1:443", 443}, {"10.1.0.3:9000", 9000}, {"10.96.0.2:80", 8080},
        {"10.96.0.1:80", 8080}, {"10.96.0.3:80", 80},    {"10.1.0.4:81", 81},
        {"10.96.0.5:80", 80},
    };
    AUTO(mesh) struct mesh m;

    build(&m);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct route r = {0};
        route_row(&m, &(struct row){.dst = rows[i].dst}, &r);
        printf("# %s\n", rows[i].dst);
        CHECK_INT(r.target_port, rows[i].want);
        CHECK_INT(r.service_port, r.service ? 80 : 0);
        route_fini(&r);
    }
}

static void resolve(struct route *r, const char *addresses, uint64_t seed)
{
    struct route_query q = {
        .illegal_ports = illegal, .illegal_count = ARRAY_LEN(illegal), .seed = seed};
    struct slice rest = slice_of(addresses);
    struct slice one;
    struct ip ips[8];
    unsigned count = 0;

    while (rest.len > 0) {
        (void)slice_cut(rest, ',', &one, &rest); /* the last one has no comma */
        count += ip_parse(&ips[count], one.p, one.len) == 0;
    }
    route_resolve(r, &q, ips, count);
}

TEST(a_resolved_name_completes_the_route)
{
    static const struct {
        const char *dst, *addresses, *want;
    } rows[] = {
        {"10.96.0.12:80", "10.5.5.5", "hbone 10.5.5.5:15008 10.5.5.5:5432 [dns-sa] dns.local>dns"},
        {"10.96.0.12:80", "fd00::5,10.5.5.5",
         "hbone 10.5.5.5:15008 10.5.5.5:5432 [dns-sa] dns.local>dns"},
        {"10.96.0.12:80", "fd00::5", "hbone [fd00::5]:15008 [fd00::5]:5432 [dns-sa] dns.local>dns"},
        {"10.96.0.12:80", "127.0.0.1",
         "deny host name has no address that may be dialled: db.example"},
        {"10.96.0.12:80", "0.0.0.0,224.0.0.1,ff02::1,::,::1",
         "deny host name has no address that may be dialled: db.example"},
        {"10.96.0.12:80", "127.0.0.1,10.5.5.5",
         "hbone 10.5.5.5:15008 10.5.5.5:5432 [dns-sa] dns.local>dns"},
        {"10.1.0.9:80", "10.5.5.5", "waypoint 10.5.5.5:15011 10.1.0.9:80 [wphost-sa] ->guarded2"},
        {"10.1.0.9:80", "127.0.0.1", "waypoint 127.0.0.1:15011 10.1.0.9:80 [wphost-sa] ->guarded2"},
        {"10.96.0.20:80", "10.5.5.5", "tcp 10.5.5.5:5432 plaindns.local>plaindns"},
    };
    AUTO(mesh) struct mesh m;

    build(&m);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        AUTO(strbuf) struct strbuf got = {0};
        struct route r = {0};
        route_row(&m, &(struct row){.dst = rows[i].dst}, &r);
        CHECK(r.resolve != NULL);
        CHECK_INT(r.resolve_family, IP_V4);
        resolve(&r, rows[i].addresses, 1);
        describe(&r, &got);
        route_fini(&r);
        printf("# %s\n", rows[i].addresses);
        CHECK_STR(got.p, rows[i].want);
    }
}

TEST(a_resolved_name_spreads_over_its_addresses)
{
    AUTO(mesh) struct mesh m;
    unsigned hits[3] = {0};

    build(&m);
    for (uint64_t seed = 0; seed < 300; seed++) {
        struct route r = {0};
        route_row(&m, &(struct row){.dst = "10.96.0.12:80"}, &r);
        resolve(&r, "10.5.5.0,fd00::5,10.5.5.1,10.5.5.2", seed);
        hits[r.tcp.ip.bytes[3]]++;
        route_fini(&r);
    }
    CHECK(hits[0] > 60 && hits[1] > 60 && hits[2] > 60);
}

TEST(a_route_outlives_its_world)
{
    struct mesh m;
    AUTO(strbuf) struct strbuf got = {0};
    struct route r = {0};

    build(&m);
    route_row(&m, &(struct row){.dst = "10.96.0.5:80"}, &r);
    mesh_fini(&m);
    describe(&r, &got);
    route_fini(&r);
    CHECK_STR(got.p, "double 10.2.0.1:15008 far.local:80 [egw] [far] far.local>far");
}

TEST(addresses_keep_to_the_service_s_families)
{
    static const struct {
        const char *vips, *families_dst, *want;
        enum ip_families families;
    } rows[] = {
        {"|10.96.0.1,|fd96::1", "10.96.0.1:80", "10.0.0.1:80", FAMILIES_AUTOMATIC},
        {"|10.96.0.1,|fd96::1", "[fd96::1]:80", "[fd00::1]:80", FAMILIES_DUAL},
        {"|10.96.0.1,|fd96::1", "[fd96::1]:80", "10.0.0.1:80", FAMILIES_IPV4},
        {"|10.96.0.1,|fd96::1", "10.96.0.1:80", "[fd00::1]:80", FAMILIES_IPV6},
        {"|fd00::1", "[fd00::1]:80", "[fd00::1]:80",
         FAMILIES_IPV4}, /* the address that was asked for */
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        AUTO(mesh) struct mesh m;
        struct route r = {0};
        char text[ENDPOINT_TEXT];
        mesh_init(&m);
        mesh_pod(&m, &(struct pod){.name = "client", .ips = "10.0.0.9"});
        mesh_pod(&m, &(struct pod){.name = "a",
                                   .ips = "10.0.0.1,fd00::1",
                                   .services = "shop/web.local=80:80"});
        mesh_svc(&m, &(struct svc){
                         .vips = rows[i].vips, .ports = "80:80", .families = rows[i].families});
        mesh_commit(&m);
        route_row(&m, &(struct row){.dst = rows[i].families_dst}, &r);
        printf("# row %zu\n", i);
        CHECK_STR(endpoint_format(&r.tcp, text), rows[i].want);
        route_fini(&r);
    }
}

TEST(weighted_waypoints_share_by_weight)
{
    static const struct {
        const char *weighted, *single;
        unsigned a, b; /* percent */
    } rows[] = {
        {"3*|10.0.0.1:1,1*|10.0.0.2:1", "|10.0.0.2:1", 75, 25},
        {"0*|10.0.0.1:1,5*|10.0.0.2:1", NULL, 0, 100},
        {"0*|10.0.0.1:1,0*|10.0.0.1:1", "|10.0.0.2:1", 0, 100},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        AUTO(mesh) struct mesh m;
        unsigned hits[2] = {0, 0};
        mesh_init(&m);
        mesh_pod(&m, &(struct pod){.name = "client", .ips = "10.0.0.9"});
        mesh_pod(&m, &(struct pod){.name = "a", .ips = "10.0.0.1"});
        mesh_pod(&m, &(struct pod){.name = "b", .ips = "10.0.0.2"});
        mesh_svc(&m, &(struct svc){.vips = "|10.96.0.1",
                                   .weighted = rows[i].weighted,
                                   .waypoint = rows[i].single});
        mesh_commit(&m);
        for (uint64_t seed = 0; seed < 4000; seed++) {
            struct route r;
            struct route_query q = {.source = world_workload(m.world, "c//Pod/shop/client"),
                                    .network = "",
                                    .seed = seed};
            q.src.ip = mesh_ip("10.0.0.9");
            q.dst = (struct endpoint){mesh_ip("10.96.0.1"), 80};
            route_decide(&r, m.world, &q);
            CHECK_INT(r.kind, ROUTE_WAYPOINT);
            hits[r.next->name[0] - 'a']++;
            route_fini(&r);
        }
        CHECK(hits[0] / 40 + 3 >= rows[i].a && hits[0] / 40 <= rows[i].a + 3);
        CHECK(hits[1] / 40 + 3 >= rows[i].b && hits[1] / 40 <= rows[i].b + 3);
    }
}

/* The proxy's own network and the source's may differ: each step has its own (contract 3.2.1). */
TEST(the_lookups_use_the_networks_of_their_steps)
{
    AUTO(mesh) struct mesh m;
    struct route r;
    struct route_query q = {.network = "proxy"};

    mesh_init(&m);
    mesh_pod(&m, &(struct pod){.name = "client", .ips = "10.0.0.9", .network = "pod"});
    mesh_pod(&m, &(struct pod){.name = "wp", .ips = "10.0.0.5", .network = "pod"});
    mesh_pod(&m, &(struct pod){.name = "a", .ips = "10.0.0.1", .network = "pod"});
    mesh_svc(&m, &(struct svc){
                     .host = "x.local", .vips = "proxy|10.96.0.1", .waypoint = "pod|10.0.0.5:1"});
    mesh_commit(&m);
    q.source = world_workload(m.world, "c//Pod/shop/client");
    q.src.ip = mesh_ip("10.0.0.9");
    q.dst = (struct endpoint){mesh_ip("10.96.0.1"), 80};
    route_decide(&r, m.world, &q);
    CHECK_INT(r.kind, ROUTE_WAYPOINT);
    route_fini(&r);
    q.dst.ip = mesh_ip("10.0.0.1");
    route_decide(&r, m.world, &q);
    CHECK_INT(r.kind, ROUTE_TCP);
    route_fini(&r);
}
