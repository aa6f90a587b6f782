/* SPDX-License-Identifier: Apache-2.0 */
#include "node/rules.h"

#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"
#include "io/netns.h"
#include "node/netlink.h"
#include "node/rtnl.h"
#include "node/sysctl.h"
#include "podnet.h"
#include "t.h"

static const enum ip_family families[] = {IP_V4, IP_V6};
static const struct rules usual = {.inbound = true, .dns = true};

enum { APP_PORT = 8080, NODE_PORT = 9090, WAIT_MS = 30000 };

static struct endpoint at(struct ip ip, uint16_t port)
{
    return (struct endpoint){ip, port};
}

static struct ip any(enum ip_family f)
{
    return podnet_ip(f == IP_V4 ? "0.0.0.0" : "::");
}

static int install(struct podnet n, const struct rules *rules)
{
    NETNS_VISIT(visit);
    int r = netns_enter_blocking(&visit, n.pod, NULL);

    return r < 0 ? r : rules_install_blocking(rules, NULL);
}

static int leave(struct podnet n, const struct rules *rules)
{
    NETNS_VISIT(visit);
    int r = netns_enter_blocking(&visit, n.pod, NULL);

    return r < 0 ? r : rules_leave_blocking(rules, NULL);
}

static int remove_all(struct podnet n)
{
    NETNS_VISIT(visit);
    int r = netns_enter_blocking(&visit, n.pod, NULL);

    return r < 0 ? r : rules_remove_blocking(NULL);
}

/* The state, or a negative error. */
static int inspect(struct podnet n, const struct rules *rules)
{
    NETNS_VISIT(visit);
    enum rules_state state;
    int r = netns_enter_blocking(&visit, n.pod, NULL);

    r = r < 0 ? r : rules_inspect_blocking(rules, &state, NULL);
    return r < 0 ? r : (int)state;
}

TEST(an_outbound_connection_reaches_the_proxy_which_learns_its_destination)
{
    AUTO(podnet) struct podnet n = podnet_make();

    CHECK_INT(install(n, &usual), 0);
    for (size_t i = 0; i < ARRAY_LEN(families); i++) {
        enum ip_family f = families[i];
        struct endpoint to = at(podnet_node_ip(f), NODE_PORT);
        AUTO(fd) int proxy = podnet_listen(n.pod, ROLE_PROXY, any(f), RULES_PORT_OUTBOUND);
        AUTO(fd) int node = podnet_listen(n.node, ROLE_APP, any(f), NODE_PORT);
        AUTO(fd) int app = podnet_connect(n.pod, ROLE_APP, NULL, to);
        CHECK(app >= 0);
        AUTO(fd) int taken = podnet_accept(proxy);
        CHECK(taken >= 0);
        struct endpoint meant = podnet_original_destination(taken);
        CHECK(endpoint_equal(&meant, &to));
        CHECK(podnet_talk(app, taken));
        CHECK(podnet_is_idle(node));
    }
}

TEST(an_inbound_connection_reaches_the_proxy_with_both_its_addresses)
{
    AUTO(podnet) struct podnet n = podnet_make();

    CHECK_INT(install(n, &usual), 0);
    for (size_t i = 0; i < ARRAY_LEN(families); i++) {
        enum ip_family f = families[i];
        struct endpoint to = at(podnet_pod_ip(f), APP_PORT);
        AUTO(fd) int proxy = podnet_listen(n.pod, ROLE_PROXY, any(f), RULES_PORT_INBOUND);
        AUTO(fd) int app = podnet_listen(n.pod, ROLE_APP, any(f), APP_PORT);
        AUTO(fd) int client = podnet_connect(n.node, ROLE_APP, NULL, to);
        CHECK(client >= 0);
        AUTO(fd) int taken = podnet_accept(proxy);
        CHECK(taken >= 0);
        struct endpoint mine = podnet_local(client);
        struct endpoint seen_from = podnet_peer(taken);
        struct endpoint seen_to = podnet_local(taken);
        CHECK(endpoint_equal(&seen_from, &mine));
        CHECK(endpoint_equal(&seen_to, &to));
        CHECK(podnet_talk(client, taken));
        CHECK(podnet_is_idle(app));
    }
}

TEST(tunnels_reach_the_proxys_own_port_directly)
{
    AUTO(podnet) struct podnet n = podnet_make();

    CHECK_INT(install(n, &usual), 0);
    for (size_t i = 0; i < ARRAY_LEN(families); i++) {
        enum ip_family f = families[i];
        AUTO(fd) int passthrough = podnet_listen(n.pod, ROLE_PROXY, any(f), RULES_PORT_INBOUND);
        AUTO(fd) int hbone = podnet_listen(n.pod, ROLE_PROXY, any(f), RULES_PORT_HBONE);
        AUTO(fd)
        int client = podnet_connect(n.node, ROLE_APP, NULL, at(podnet_pod_ip(f), RULES_PORT_HBONE));
        CHECK(client >= 0);
        AUTO(fd) int taken = podnet_accept(hbone);
        CHECK(taken >= 0);
        CHECK(podnet_is_idle(passthrough));
    }
}

TEST(where_no_proxy_listens_captured_connections_are_refused_not_let_through)
{
    AUTO(podnet) struct podnet n = podnet_make();

    CHECK_INT(install(n, &usual), 0);
    for (size_t i = 0; i < ARRAY_LEN(families); i++) {
        enum ip_family f = families[i];
        AUTO(fd) int app = podnet_listen(n.pod, ROLE_APP, any(f), APP_PORT);
        AUTO(fd) int node = podnet_listen(n.node, ROLE_APP, any(f), NODE_PORT);
        CHECK_INT(podnet_connect(n.pod, ROLE_APP, NULL, at(podnet_node_ip(f), NODE_PORT)),
                  -ECONNREFUSED);
        CHECK_INT(podnet_connect(n.node, ROLE_APP, NULL, at(podnet_pod_ip(f), APP_PORT)),
                  -ECONNREFUSED);
        CHECK(podnet_is_idle(app));
        CHECK(podnet_is_idle(node));
    }
}

TEST(the_proxys_own_sockets_and_talk_within_the_pod_are_left_alone)
{
    AUTO(podnet) struct podnet n = podnet_make();

    CHECK_INT(install(n, &usual), 0);
    for (size_t i = 0; i < ARRAY_LEN(families); i++) {
        enum ip_family f = families[i];
        AUTO(fd) int proxy = podnet_listen(n.pod, ROLE_PROXY, any(f), RULES_PORT_OUTBOUND);
        AUTO(fd) int app = podnet_listen(n.pod, ROLE_APP, any(f), APP_PORT);
        AUTO(fd) int node = podnet_listen(n.node, ROLE_APP, any(f), NODE_PORT);
        AUTO(fd)
        int marked = podnet_connect(n.pod, ROLE_PROXY, NULL, at(podnet_node_ip(f), NODE_PORT));
        CHECK(marked >= 0);
        AUTO(fd) int arrived = podnet_accept(node);
        CHECK(arrived >= 0);
        CHECK(podnet_talk(marked, arrived));
        AUTO(fd) int self = podnet_connect(n.pod, ROLE_APP, NULL, at(podnet_pod_ip(f), APP_PORT));
        CHECK(self >= 0);
        AUTO(fd) int own = podnet_accept(app);
        CHECK(own >= 0);
        CHECK(podnet_talk(self, own));
        CHECK(podnet_is_idle(proxy));
    }
}

/* What the proxy does for an inbound connection: it speaks to the application as the client. */
TEST(the_application_sees_its_clients_address)
{
    AUTO(podnet) struct podnet n = podnet_make();

    CHECK_INT(install(n, &usual), 0);
    for (size_t i = 0; i < ARRAY_LEN(families); i++) {
        enum ip_family f = families[i];
        struct endpoint client = at(podnet_node_ip(f), 0);
        AUTO(fd) int app = podnet_listen(n.pod, ROLE_APP, any(f), APP_PORT);
        AUTO(fd)
        int proxy = podnet_connect(n.pod, ROLE_PROXY, &client, at(podnet_pod_ip(f), APP_PORT));
        CHECK_INT(proxy < 0 ? proxy : 0, 0);
        AUTO(fd) int accepted = podnet_accept(app);
        CHECK(accepted >= 0);
        struct endpoint seen = podnet_peer(accepted);
        CHECK(ip_equal(&seen.ip, &client.ip));
        CHECK(podnet_talk(proxy, accepted));
    }
}

struct live { /* one connection each way */
    int in_client, in_app, out_app, out_node;
};

static void live_close(struct live l)
{
    podnet_close_fd(l.in_client);
    podnet_close_fd(l.in_app);
    podnet_close_fd(l.out_app);
    podnet_close_fd(l.out_node);
}
AUTO_DEFINE(live, struct live, live_close);

static struct live live_open(struct podnet n, enum ip_family f)
{
    AUTO(fd) int app = podnet_listen(n.pod, ROLE_APP, any(f), APP_PORT);
    AUTO(fd) int node = podnet_listen(n.node, ROLE_APP, any(f), NODE_PORT);
    struct live l = {
        .in_client = podnet_connect(n.node, ROLE_APP, NULL, at(podnet_pod_ip(f), APP_PORT)),
        .out_app = podnet_connect(n.pod, ROLE_APP, NULL, at(podnet_node_ip(f), NODE_PORT)),
    };

    l.in_app = podnet_accept(app);
    l.out_node = podnet_accept(node);
    return l;
}

static bool live_talk(struct live l)
{
    return podnet_talk(l.in_client, l.in_app) && podnet_talk(l.in_app, l.in_client) &&
           podnet_talk(l.out_app, l.out_node) && podnet_talk(l.out_node, l.out_app);
}

/* The refusal of a port where nobody listens has no socket that could have inherited a mark. */
TEST(the_applications_refusal_finds_its_way_back_to_the_proxy)
{
    AUTO(podnet) struct podnet n = podnet_make();

    CHECK_INT(install(n, &usual), 0);
    for (size_t i = 0; i < ARRAY_LEN(families); i++) {
        struct endpoint from = at(podnet_node_ip(families[i]), 0);
        struct endpoint to = at(podnet_pod_ip(families[i]), APP_PORT);
        CHECK_INT(podnet_connect(n.pod, ROLE_PROXY, &from, to), -ECONNREFUSED);
    }
}

TEST(connections_that_exist_when_a_pod_joins_and_leaves_live_on)
{
    for (size_t i = 0; i < ARRAY_LEN(families); i++) {
        AUTO(podnet) struct podnet n = podnet_make();
        AUTO(live) struct live l = live_open(n, families[i]);
        CHECK(live_talk(l));
        CHECK_INT(install(n, &usual), 0);
        CHECK(live_talk(l));
        AUTO(fd)
        int proxy = podnet_listen(n.pod, ROLE_PROXY, any(families[i]), RULES_PORT_INBOUND);
        CHECK(live_talk(l));
        CHECK_INT(leave(n, &usual), 0);
        CHECK(live_talk(l));
        CHECK_INT(remove_all(n), 0);
        CHECK(live_talk(l));
    }
}

TEST(after_leaving_new_connections_pass_and_proxied_ones_live_on)
{
    for (size_t i = 0; i < ARRAY_LEN(families); i++) {
        enum ip_family f = families[i];
        AUTO(podnet) struct podnet n = podnet_make();
        CHECK_INT(install(n, &usual), 0);
        AUTO(fd) int outbound = podnet_listen(n.pod, ROLE_PROXY, any(f), RULES_PORT_OUTBOUND);
        AUTO(fd) int inbound = podnet_listen(n.pod, ROLE_PROXY, any(f), RULES_PORT_INBOUND);
        AUTO(fd)
        int app = podnet_connect(n.pod, ROLE_APP, NULL, at(podnet_node_ip(f), NODE_PORT));
        AUTO(fd) int taken_out = podnet_accept(outbound);
        AUTO(fd)
        int client = podnet_connect(n.node, ROLE_APP, NULL, at(podnet_pod_ip(f), APP_PORT));
        AUTO(fd) int taken_in = podnet_accept(inbound);
        CHECK(podnet_talk(app, taken_out));
        CHECK(podnet_talk(client, taken_in));

        CHECK_INT(leave(n, &usual), 0);
        CHECK(podnet_talk(app, taken_out));
        CHECK(podnet_talk(client, taken_in));
        AUTO(live) struct live direct = live_open(n, f);
        CHECK(live_talk(direct));
        CHECK(podnet_is_idle(outbound));
        CHECK(podnet_is_idle(inbound));
    }
}

TEST(a_pod_that_changes_its_mind_is_captured_again_and_nothing_breaks)
{
    AUTO(podnet) struct podnet n = podnet_make();
    AUTO(live) struct live l = live_open(n, IP_V4);

    for (int flip = 0; flip < 5; flip++) {
        CHECK_INT(install(n, &usual), 0);
        CHECK_INT(inspect(n, &usual), RULES_CAPTURING);
        CHECK(live_talk(l));
        CHECK_INT(leave(n, &usual), 0);
        CHECK_INT(inspect(n, &usual), RULES_LEAVING);
        CHECK(live_talk(l));
    }
}

/* As it is when its annotation changed while no agent ran. */
TEST(a_pod_that_was_captured_without_dns_is_left_by_an_agent_that_believes_otherwise)
{
    AUTO(podnet) struct podnet n = podnet_make();
    AUTO(live) struct live l = live_open(n, IP_V4);
    struct rules without_dns = {.inbound = true};

    CHECK_INT(install(n, &without_dns), 0);
    CHECK_INT(leave(n, &usual), 0);
    CHECK_INT(inspect(n, &usual), RULES_LEAVING);
    CHECK(live_talk(l));
    AUTO(live) struct live fresh = live_open(n, IP_V4);
    CHECK(live_talk(fresh));
    CHECK_INT(remove_all(n), 0);
    CHECK_INT(leave(n, &usual), -ENOENT);
}

TEST(inspection_tells_the_states_apart)
{
    AUTO(podnet) struct podnet n = podnet_make();
    struct rules without_dns = {.inbound = true};
    struct rules ingress = {.dns = true};
    struct rules probes = {.inbound = true, .dns = true, .probes = true};

    CHECK_INT(inspect(n, &usual), RULES_NONE);
    CHECK_INT(install(n, &usual), 0);
    CHECK_INT(inspect(n, &usual), RULES_CAPTURING);
    CHECK_INT(inspect(n, &without_dns), RULES_OTHER);
    CHECK_INT(inspect(n, &ingress), RULES_OTHER);
    CHECK_INT(inspect(n, &probes), RULES_OTHER);
    CHECK_INT(install(n, &probes), 0);
    CHECK_INT(inspect(n, &probes), RULES_CAPTURING);
    CHECK_INT(leave(n, &probes), 0);
    CHECK_INT(inspect(n, &probes), RULES_LEAVING);
    CHECK_INT(remove_all(n), 0);
    CHECK_INT(inspect(n, &usual), RULES_NONE);
    CHECK_INT(remove_all(n), 0);
}

#define DELETE_THE_RESET_RULE                                                                      \
    "nft delete rule inet ambit pre handle"                                                        \
    " $(nft -a list chain inet ambit pre | sed -n 's/.*reset.*handle //p')"

/* Each is one change that somebody inside the pod could have made. */
TEST(any_tampering_is_noticed_and_repaired)
{
    static const char *const tampering[] = {
        "nft flush chain inet ambit out",
        "nft flush table inet ambit",
        "nft chain inet ambit pre '{ policy drop; }'",
        "nft insert rule inet ambit out accept",
        "nft insert rule inet ambit pre tcp dport 8080 accept",
        "nft add rule inet ambit out drop",
        "nft add chain inet ambit more '{ type filter hook output priority 0; }'",
        DELETE_THE_RESET_RULE,
    };

    for (size_t i = 0; i < ARRAY_LEN(tampering); i++) {
        AUTO(podnet) struct podnet n = podnet_make();
        CHECK_INT(install(n, &usual), 0);
        AUTO(text) char *said = podnet_run(n.pod, tampering[i]);
        CHECK_INT(inspect(n, &usual), RULES_OTHER);
        CHECK_INT(install(n, &usual), 0);
        CHECK_INT(inspect(n, &usual), RULES_CAPTURING);
    }
}

/* A link that goes down and up loses its IPv6 routes. */
TEST(installing_again_restores_the_return_path)
{
    AUTO(podnet) struct podnet n = podnet_make();
    struct endpoint client = at(podnet_node_ip(IP_V6), 0);
    struct endpoint to = at(podnet_pod_ip(IP_V6), APP_PORT);

    CHECK_INT(install(n, &usual), 0);
    AUTO(text) char *said = podnet_run(n.pod, "ip link set lo down && ip link set lo up");
    AUTO(fd) int app = podnet_listen(n.pod, ROLE_APP, any(IP_V6), APP_PORT);
    CHECK(podnet_is_cut_off(n.pod, ROLE_PROXY, &client, to));
    CHECK_INT(install(n, &usual), 0);
    AUTO(fd) int proxy = podnet_connect(n.pod, ROLE_PROXY, &client, to);
    CHECK(proxy >= 0);
}

TEST(dns_queries_reach_the_proxy_and_its_own_do_not)
{
    AUTO(podnet) struct podnet n = podnet_make();

    CHECK_INT(install(n, &usual), 0);
    for (size_t i = 0; i < ARRAY_LEN(families); i++) {
        enum ip_family f = families[i];
        struct ip loopback = podnet_ip(f == IP_V4 ? "127.0.0.1" : "::1");
        struct endpoint server = at(podnet_node_ip(f), 53);
        struct sockaddr_storage to;
        socklen_t len = endpoint_to_sockaddr(&server, &to);
        AUTO(fd) int dns = podnet_udp(n.pod, ROLE_PROXY, loopback, RULES_PORT_DNS);
        AUTO(fd) int upstream = podnet_udp(n.node, ROLE_APP, any(f), 53);
        AUTO(fd) int app = podnet_udp(n.pod, ROLE_APP, any(f), 5353);
        AUTO(fd) int own = podnet_udp(n.pod, ROLE_PROXY, any(f), 5354);
        struct pollfd p[] = {{.fd = dns, .events = POLLIN}, {.fd = upstream, .events = POLLIN}};

        CHECK_INT(sendto(app, "?", 1, 0, (struct sockaddr *)&to, len), 1);
        CHECK_INT(poll(p, 2, WAIT_MS), 1);
        CHECK(p[0].revents & POLLIN);
        struct sockaddr_storage from;
        socklen_t from_len = sizeof(from);
        char byte;
        CHECK_INT(recvfrom(dns, &byte, 1, 0, (struct sockaddr *)&from, &from_len), 1);
        CHECK_INT(sendto(dns, "!", 1, 0, (struct sockaddr *)&from, from_len), 1);
        struct pollfd answer = {.fd = app, .events = POLLIN};
        CHECK_INT(poll(&answer, 1, WAIT_MS), 1);

        CHECK_INT(sendto(own, "?", 1, 0, (struct sockaddr *)&to, len), 1);
        CHECK_INT(poll(p, 2, WAIT_MS), 1);
        CHECK(p[1].revents & POLLIN);
    }
}

TEST(in_ingress_mode_inbound_connections_go_straight_to_the_application)
{
    AUTO(podnet) struct podnet n = podnet_make();
    struct rules ingress = {.dns = true};

    CHECK_INT(install(n, &ingress), 0);
    AUTO(fd) int outbound = podnet_listen(n.pod, ROLE_PROXY, any(IP_V4), RULES_PORT_OUTBOUND);
    AUTO(fd) int app = podnet_listen(n.pod, ROLE_APP, any(IP_V4), APP_PORT);
    AUTO(fd)
    int client = podnet_connect(n.node, ROLE_APP, NULL, at(podnet_pod_ip(IP_V4), APP_PORT));
    CHECK(client >= 0);
    AUTO(fd) int accepted = podnet_accept(app);
    CHECK(accepted >= 0);
    AUTO(fd)
    int own = podnet_connect(n.pod, ROLE_APP, NULL, at(podnet_node_ip(IP_V4), NODE_PORT));
    CHECK(own >= 0);
    AUTO(fd) int taken = podnet_accept(outbound);
    CHECK(taken >= 0);
}

TEST(a_probe_passes_only_where_probes_are_exempt)
{
    for (int exempt = 0; exempt < 2; exempt++) {
        AUTO(podnet) struct podnet n = podnet_make();
        struct rules rules = {.inbound = true, .probes = exempt};
        struct endpoint probe = at(podnet_ip(RULES_PROBE_V4), 0);
        AUTO(text)
        char *said = podnet_run(n.node, "ip addr add " RULES_PROBE_V4 "/32 dev lo");
        CHECK_INT(install(n, &rules), 0);
        AUTO(fd) int app = podnet_listen(n.pod, ROLE_APP, any(IP_V4), APP_PORT);
        struct endpoint to = at(podnet_pod_ip(IP_V4), APP_PORT);
        AUTO(fd) int fd = exempt ? podnet_connect(n.node, ROLE_APP, &probe, to) : -1;
        CHECK(exempt ? fd >= 0 : podnet_is_cut_off(n.node, ROLE_APP, &probe, to));
    }
}

TEST(traffic_from_a_virtual_link_is_outbound)
{
    AUTO(podnet) struct podnet n = podnet_make();
    struct rules rules = {.inbound = true, .virtual_count = 1, .virtual_links = {"eth0"}};

    CHECK_INT(install(n, &rules), 0);
    CHECK_INT(inspect(n, &rules), RULES_CAPTURING);
    AUTO(fd) int outbound = podnet_listen(n.pod, ROLE_PROXY, any(IP_V4), RULES_PORT_OUTBOUND);
    AUTO(fd)
    int client = podnet_connect(n.node, ROLE_APP, NULL, at(podnet_pod_ip(IP_V4), APP_PORT));
    CHECK(client >= 0);
    AUTO(fd) int taken = podnet_accept(outbound);
    CHECK(taken >= 0);
}

TEST(removal_leaves_the_namespace_as_it_was)
{
    AUTO(podnet) struct podnet n = podnet_make();
    static const char look[] = "nft list ruleset; ip rule; ip -6 rule; ip route show table all |"
                               " sort; ip -6 route show table all | sort;"
                               " sysctl net.ipv4.tcp_fwmark_accept net.ipv4.tcp_migrate_req"
                               " net.ipv4.fwmark_reflect net.ipv6.fwmark_reflect";
    /* The kernel gives the link an address and a route of its own, a second or two after it is up. */
    static const char settle[] =
        "for i in $(seq 600); do ip -6 addr show dev eth0 scope link -tentative |"
        " grep -q fe80 && exit; sleep 0.05; done; exit 1";
    AUTO(text) char *nothing = podnet_run(n.pod, settle);
    AUTO(text) char *before = podnet_run(n.pod, look);

    CHECK_INT(install(n, &usual), 0);
    CHECK_INT(leave(n, &usual), 0);
    CHECK_INT(remove_all(n), 0);
    AUTO(text) char *after = podnet_run(n.pod, look);
    CHECK_STR(after, before);
}

/* Repairs and a second removal know no better than the first installation. */
TEST(switches_that_the_owner_had_set_are_set_when_the_rules_are_gone)
{
    AUTO(podnet) struct podnet n = podnet_make();
    static const char look[] = "nft list ruleset; sysctl net.ipv4.tcp_fwmark_accept"
                               " net.ipv4.tcp_migrate_req net.ipv4.fwmark_reflect"
                               " net.ipv6.fwmark_reflect";
    static const char values[] = "sysctl -n net.ipv4.tcp_fwmark_accept net.ipv4.tcp_migrate_req"
                                 " net.ipv4.fwmark_reflect net.ipv6.fwmark_reflect";

    mem_free(podnet_run(n.pod, "sysctl -qw net.ipv4.tcp_migrate_req=1 net.ipv6.fwmark_reflect=1"));
    AUTO(text) char *before = podnet_run(n.pod, look);
    for (int round = 0; round < 2; round++) {
        struct rules other = usual;
        CHECK_INT(install(n, &usual), 0);
        CHECK_INT(install(n, &usual), 0);
        other.dns = false;
        CHECK_INT(install(n, &other), 0);
        AUTO(text) char *during = podnet_run(n.pod, values);
        CHECK_STR(during, "1\n1\n1\n1\n");
        CHECK_INT(leave(n, &other), 0);
        CHECK_INT(remove_all(n), 0);
        CHECK_INT(remove_all(n), 0);
        AUTO(text) char *after = podnet_run(n.pod, look);
        CHECK_STR(after, before);
    }
}

/* ---- an agent that is killed at any point of its work */

static int left = -1; /* steps until it is; negative: never */

static void step(void)
{
    if (left >= 0 && left-- == 0) {
        _exit(9);
    }
}

/* All that changes something in a namespace goes by here (meson.build). */
#define WRAPPED(name, parameters, arguments)                                                       \
    int __real_##name parameters;                                                                  \
    int __wrap_##name parameters;                                                                  \
    int __wrap_##name parameters                                                                   \
    {                                                                                              \
        step();                                                                                    \
        return __real_##name arguments;                                                            \
    }

WRAPPED(sysctl_set_blocking, (const char *key, const char *value, struct diag *why),
        (key, value, why))
WRAPPED(netlink_commit_blocking,
        (struct netlink * n, const struct nl_batch *b, uint32_t acked, const char *what,
         struct diag *why),
        (n, b, acked, what, why))
WRAPPED(rtnl_rule_add_blocking,
        (struct netlink * n, const struct rtnl_rule *rule, struct diag *why), (n, rule, why))
WRAPPED(rtnl_rule_delete_blocking,
        (struct netlink * n, const struct rtnl_rule *rule, struct diag *why), (n, rule, why))
WRAPPED(rtnl_route_set_blocking,
        (struct netlink * n, const struct rtnl_route *route, struct diag *why), (n, route, why))
WRAPPED(rtnl_route_delete_blocking,
        (struct netlink * n, const struct rtnl_route *route, struct diag *why), (n, route, why))

#define SOME_SET "sysctl -qw net.ipv4.tcp_migrate_req=1 net.ipv6.fwmark_reflect=1"

enum killed_at { KILLED_JOINING, KILLED_REPAIRING, KILLED_LEAVING };

static int act(struct podnet n, enum killed_at what)
{
    struct rules other = usual;

    other.dns = what != KILLED_REPAIRING;
    return what == KILLED_LEAVING ? remove_all(n) : install(n, &other);
}

/* True: it came to that step. */
static bool kill_at(struct podnet n, enum killed_at what, int steps)
{
    int status = 0;
    pid_t pid = fork();

    if (pid == 0) {
        left = steps;
        _exit(act(n, what) == 0 ? 0 : 1);
    }
    return pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) &&
           WEXITSTATUS(status) == 9;
}

/* What an agent does that comes later and finds a pod that is not to be captured. */
static int put_right(struct podnet n)
{
    if (inspect(n, &usual) == RULES_NONE) {
        return 0;
    }
    int r = leave(n, &usual);
    return r < 0 && r != -ENOENT ? r : remove_all(n);
}

static void check_killed(struct test *t, struct podnet n, enum killed_at what, bool comes_back)
{
    static const char look[] = "nft list ruleset; ip rule; ip -6 rule; ip route show table 100"
                               " 2>/dev/null; ip -6 route show table 100 2>/dev/null; sysctl "
                               "net.ipv4.tcp_fwmark_accept net.ipv4.tcp_migrate_req"
                               " net.ipv4.fwmark_reflect net.ipv6.fwmark_reflect";
    static const char values[] = "sysctl -n net.ipv4.tcp_fwmark_accept net.ipv4.tcp_migrate_req"
                                 " net.ipv4.fwmark_reflect net.ipv6.fwmark_reflect";
    AUTO(text) char *before = podnet_run(n.pod, look);
    bool more = true;
    int steps = 0;

    for (; more; steps++) {
        if (what != KILLED_JOINING) {
            CHECK_INT(install(n, &usual), 0);
        }
        more = kill_at(n, what, steps);
        if (comes_back) {
            CHECK_INT(install(n, &usual), 0);
            CHECK_INT(inspect(n, &usual), RULES_CAPTURING);
            AUTO(text) char *during = podnet_run(n.pod, values);
            CHECK_STR(during, "1\n1\n1\n1\n");
        }
        CHECK_INT(put_right(n), 0);
        AUTO(text) char *after = podnet_run(n.pod, look);
        CHECK_STR(after, before);
    }
    CHECK(steps > (what == KILLED_REPAIRING ? 2 : 6));
}

TEST(an_agent_that_was_killed_at_any_point_leaves_nothing_that_the_next_cannot_put_right)
{
    static const struct {
        const char *owner;
        enum killed_at what;
        bool comes_back;
    } cases[] = {
        {"true", KILLED_JOINING, false},  {"true", KILLED_JOINING, true},
        {"true", KILLED_REPAIRING, true}, {"true", KILLED_LEAVING, false},
        {"true", KILLED_LEAVING, true},   {SOME_SET, KILLED_JOINING, false},
        {SOME_SET, KILLED_LEAVING, true},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        AUTO(podnet) struct podnet n = podnet_make();
        mem_free(podnet_run(n.pod, cases[i].owner));
        check_killed(t, n, cases[i].what, cases[i].comes_back);
    }
}

/* The meaning of every byte we send, as another program reads it. */
TEST(nft_reads_the_rules_that_are_meant)
{
    AUTO(podnet) struct podnet n = podnet_make();
    struct rules all = {.inbound = true,
                        .dns = true,
                        .probes = true,
                        .virtual_count = 1,
                        .virtual_links = {"virt0"}};
    size_t len;
    AUTO(text) char *want = test_vector("node/rules-all.nft", &len);

    CHECK_INT(install(n, &all), 0);
    AUTO(text) char *got = podnet_run(n.pod, "nft list table inet ambit");
    CHECK_STR(got, want);
}
