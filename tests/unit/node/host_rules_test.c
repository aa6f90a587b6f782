/* SPDX-License-Identifier: Apache-2.0 */
#include "node/host_rules.h"

#include <string.h>

#include "base/mem.h"
#include "io/netns.h"
#include "node/capture.h"
#include "node/rules.h"
#include "podnet.h"
#include "t.h"

static const enum ip_family families[] = {IP_V4, IP_V6};
static const struct rules exempt = {.inbound = true, .probes = true};

static int install_pod(struct podnet n)
{
    NETNS_VISIT(visit);
    int r = netns_enter_blocking(&visit, n.pod, NULL);

    return r < 0 ? r : rules_install_blocking(&exempt, NULL);
}

static int install_host(struct podnet n)
{
    NETNS_VISIT(visit);
    int r = netns_enter_blocking(&visit, n.node, NULL);

    for (size_t i = 0; r == 0 && i < ARRAY_LEN(families); i++) {
        struct ip ip = podnet_pod_ip(families[i]);
        r = host_rules_ensure_blocking(NULL);
        r = r < 0 ? r : host_rules_put_blocking(&ip, "uid-1", NULL);
    }
    return r;
}

static int remove_host(struct podnet n)
{
    NETNS_VISIT(visit);
    int r = netns_enter_blocking(&visit, n.node, NULL);

    return r < 0 ? r : host_rules_remove_blocking(NULL);
}

static int drop(struct podnet n, enum ip_family f)
{
    NETNS_VISIT(visit);
    struct ip ip = podnet_pod_ip(f);
    int r = netns_enter_blocking(&visit, n.node, NULL);

    return r < 0 ? r : host_rules_drop_blocking(&ip, NULL);
}

static int put(struct podnet n, enum ip_family f, const char *uid)
{
    NETNS_VISIT(visit);
    struct ip ip = podnet_pod_ip(f);
    int r = netns_enter_blocking(&visit, n.node, NULL);

    return r < 0 ? r : host_rules_put_blocking(&ip, uid, NULL);
}

/* Does a connection from the node reach the application past the proxy? */
static bool passes(struct podnet n, enum ip_family f)
{
    struct ip any = podnet_ip(f == IP_V4 ? "0.0.0.0" : "::");
    struct ip probe = podnet_ip(f == IP_V4 ? RULES_PROBE_V4 : RULES_PROBE_V6);
    struct endpoint to = {podnet_pod_ip(f), 8080};
    AUTO(fd) int app = podnet_listen(n.pod, ROLE_APP, any, 8080);
    AUTO(fd) int client = podnet_connect(n.node, ROLE_APP, NULL, to);
    AUTO(fd) int accepted = client >= 0 ? podnet_accept(app) : -1;

    if (accepted < 0) {
        return false;
    }
    struct endpoint from = podnet_peer(accepted);
    return ip_equal(&from.ip, &probe) && podnet_talk(client, accepted);
}

TEST(the_nodes_own_processes_probe_enrolled_pods_past_the_proxy)
{
    AUTO(podnet) struct podnet n = podnet_make();

    CHECK_INT(install_pod(n), 0);
    CHECK(!passes(n, IP_V4));
    CHECK(!passes(n, IP_V6));
    CHECK_INT(install_host(n), 0);
    CHECK(passes(n, IP_V4));
    CHECK(passes(n, IP_V6));
    CHECK_INT(drop(n, IP_V4), 0);
    CHECK(!passes(n, IP_V4));
    CHECK(passes(n, IP_V6));
    CHECK_INT(drop(n, IP_V4), 0);
    CHECK_INT(put(n, IP_V4, "uid-2"), 0);
    CHECK(passes(n, IP_V4));
    CHECK_INT(remove_host(n), 0);
    CHECK(!passes(n, IP_V6));
    CHECK_INT(remove_host(n), 0);
}

/* Another pod of the node sends from the probes' address, through the node. */
TEST(nobody_else_may_send_from_the_probes_address)
{
    struct endpoint probe = {podnet_ip(RULES_PROBE_V4), 0};
    struct endpoint to = {podnet_pod_ip(IP_V4), 8080};

    for (int guarded = 0; guarded < 2; guarded++) {
        AUTO(podnet) struct podnet n = podnet_make();
        AUTO(fd) int neighbour = podnet_neighbour(n);
        AUTO(text)
        char *a = podnet_run(neighbour, "ip addr add " RULES_PROBE_V4 "/32 dev lo");
        AUTO(text)
        char *b = podnet_run(n.node, "ip route add " RULES_PROBE_V4 " via 10.78.0.2;"
                                     " sysctl -qw net.ipv4.ip_forward=1");
        CHECK_INT(install_pod(n), 0);
        CHECK(guarded == 0 || install_host(n) == 0);
        AUTO(fd) int app = podnet_listen(n.pod, ROLE_APP, podnet_ip("0.0.0.0"), 8080);
        AUTO(fd) int fd = guarded ? -1 : podnet_connect(neighbour, ROLE_APP, &probe, to);
        CHECK(guarded ? podnet_is_cut_off(neighbour, ROLE_APP, &probe, to) : fd >= 0);
    }
}

/* The pod and a neighbour are ports of one bridge, whose frames the rules for routed packets do not
 * see; the pod takes the neighbour for its gateway (an ARP answer of the neighbour's makes it so). */
static int bridged_neighbour(struct podnet n)
{
    int neighbour = podnet_neighbour(n);
    AUTO(text)
    char *a = podnet_run(n.node, "ip addr flush dev eth0; ip addr flush dev eth1; "
                                 "ip link add br0 type bridge; ip link set br0 up; "
                                 "ip link set eth0 master br0; ip link set eth1 master br0; "
                                 "sysctl -qw net.bridge.bridge-nf-call-iptables=0 2>&1");
    AUTO(text)
    char *b = podnet_run(neighbour, "ip link set eth0 address 02:00:00:00:00:99; "
                                    "ip addr add 10.77.0.3/24 dev eth0; "
                                    "ip addr add " RULES_PROBE_V4 "/32 dev lo");
    AUTO(text)
    char *c = podnet_run(n.pod, "ip neigh replace 10.77.0.1 lladdr 02:00:00:00:00:99 dev eth0");
    return neighbour;
}

TEST(nobody_on_the_same_bridge_may_either)
{
    struct endpoint probe = {podnet_ip(RULES_PROBE_V4), 0};
    struct endpoint to = {podnet_pod_ip(IP_V4), 8080};

    for (int guarded = 0; guarded < 2; guarded++) {
        AUTO(podnet) struct podnet n = podnet_make();
        AUTO(fd) int neighbour = bridged_neighbour(n);
        CHECK_INT(install_pod(n), 0);
        CHECK(guarded == 0 || install_host(n) == 0);
        AUTO(fd) int app = podnet_listen(n.pod, ROLE_APP, podnet_ip("0.0.0.0"), 8080);
        int fd = podnet_connect(neighbour, ROLE_APP, &probe, to);
        podnet_close_fd(fd);
        CHECK_INT(fd >= 0, !guarded);
        CHECK_INT(remove_host(n), 0);
        AUTO(text) char *left = podnet_run(n.node, "nft list tables");
        CHECK_STR(left, "");
    }
}

/* As a firewall that is loaded again does. A pod is installed again every minute. */
TEST(rules_that_somebody_took_from_the_node_come_back)
{
    AUTO(podnet) struct podnet n = podnet_make();
    struct pod pod = {.uid = (char[]){"uid-1"}, .ip_count = 1, .ips = {podnet_pod_ip(IP_V4)}};

    CHECK_INT(install_host(n), 0);
    AUTO(text) char *gone = podnet_run(n.node, "nft flush ruleset");
    {
        NETNS_VISIT(visit);
        CHECK_INT(netns_enter_blocking(&visit, n.node, NULL), 0);
        CHECK_INT(capture_kernel.install(n.pod, &pod, &exempt, NULL), 1);
    }
    CHECK(passes(n, IP_V4));
    AUTO(text) char *bridges = podnet_run(n.node, "nft list table bridge ambit_host");
    CHECK(strstr(bridges, RULES_PROBE_V4) && strstr(bridges, RULES_PROBE_V6));
}

TEST(an_owner_that_changes_is_shown)
{
    AUTO(podnet) struct podnet n = podnet_make();

    CHECK_INT(install_host(n), 0);
    CHECK_INT(put(n, IP_V4, "uid-2"), 0);
    AUTO(text) char *listed = podnet_run(n.node, "nft list set inet ambit_host probes4");
    CHECK(strstr(listed, "10.77.0.2 comment \"uid-2\""));
    CHECK(!strstr(listed, "uid-1"));
}
