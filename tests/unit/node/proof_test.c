/* SPDX-License-Identifier: Apache-2.0 */
#include "node/proof.h"

#include <poll.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "io/netns.h"
#include "node/sock_diag.h"
#include "podnet.h"
#include "t.h"

static const struct rules usual = {.inbound = true, .dns = true};

static struct ip any(enum ip_family f)
{
    return podnet_ip(f == IP_V4 ? "0.0.0.0" : "::");
}

static int probe(struct podnet n, enum ip_family f)
{
    NETNS_VISIT(visit);
    int r = netns_enter_blocking(&visit, n.pod, NULL);

    return r < 0 ? r : proof_probe_blocking(f, NULL);
}

static int install(struct podnet n)
{
    NETNS_VISIT(visit);
    int r = netns_enter_blocking(&visit, n.pod, NULL);

    return r < 0 ? r : rules_install_blocking(&usual, NULL);
}

static int take(struct podnet n, struct diag *why)
{
    NETNS_VISIT(visit);
    int r = netns_enter_blocking(&visit, n.pod, why);

    return r < 0 ? r : proof_take_blocking(&usual, why);
}

static int carried(struct podnet n)
{
    NETNS_VISIT(visit);
    unsigned count;
    int r = netns_enter_blocking(&visit, n.pod, NULL);

    r = r < 0 ? r : sock_diag_count_carried_blocking(&count, NULL);
    return r < 0 ? r : (int)count;
}

/* What it comes to: the kernel ends connections when it gets to it. */
static int carried_then(struct podnet n, int want)
{
    int count = carried(n);

    for (uint64_t end = clock_mono_ms() + 10000; count != want && clock_mono_ms() < end;) {
        (void)poll(NULL, 0, 1);
        count = carried(n);
    }
    return count;
}

struct proxy { /* listeners of both families at the three ports */
    int fd[6];
};

static struct proxy proxy_listen(struct podnet n, enum socket_role role)
{
    static const uint16_t ports[] = {RULES_PORT_OUTBOUND, RULES_PORT_INBOUND, RULES_PORT_HBONE};
    struct proxy p;

    for (int i = 0; i < 6; i++) {
        p.fd[i] = podnet_listen(n.pod, role, any(i < 3 ? IP_V4 : IP_V6), ports[i % 3]);
    }
    return p;
}

static void proxy_close(struct proxy p)
{
    for (int i = 0; i < 6; i++) {
        podnet_close_fd(p.fd[i]);
    }
}
AUTO_DEFINE(proxy, struct proxy, proxy_close);

TEST(a_captured_request_is_answered_by_the_proxys_listener_and_never_completed)
{
    AUTO(podnet) struct podnet n = podnet_make();
    static const enum ip_family families[] = {IP_V4, IP_V6};

    CHECK_INT(install(n), 0);
    for (size_t i = 0; i < ARRAY_LEN(families); i++) {
        AUTO(fd)
        int proxy = podnet_listen(n.pod, ROLE_PROXY, any(families[i]), RULES_PORT_OUTBOUND);
        CHECK_INT(probe(n, families[i]), 0);
        CHECK(podnet_is_idle(proxy));
    }
}

TEST(a_request_that_is_captured_where_nobody_listens_is_refused)
{
    AUTO(podnet) struct podnet n = podnet_make();

    CHECK_INT(install(n), 0);
    CHECK_INT(probe(n, IP_V4), -ECONNREFUSED);
    CHECK_INT(probe(n, IP_V6), -ECONNREFUSED);
}

TEST(a_request_that_is_not_captured_finds_nobody)
{
    AUTO(podnet) struct podnet n = podnet_make();
    AUTO(fd) int proxy = podnet_listen(n.pod, ROLE_PROXY, any(IP_V4), RULES_PORT_OUTBOUND);

    CHECK_INT(probe(n, IP_V4), -ERR_DEADLINE);
}

TEST(a_pod_without_a_route_has_nothing_to_probe)
{
    AUTO(podnet) struct podnet n = podnet_make();
    AUTO(text) char *said = podnet_run(n.pod, "ip route del default; ip -6 route del default");

    CHECK_INT(install(n), 0);
    CHECK_INT(probe(n, IP_V4), -ENETUNREACH);
    AUTO(proxy) struct proxy p = proxy_listen(n, ROLE_PROXY);
    CHECK_INT(take(n, NULL), 0);
}

TEST(the_proof_needs_rules_listeners_and_an_answer)
{
    AUTO(podnet) struct podnet n = podnet_make();
    struct diag why = {0};

    CHECK_INT(take(n, &why), -ERR_UNAVAILABLE);
    CHECK_STR(why.text, "capture rules are not the ones that were set");
    CHECK_INT(install(n), 0);
    CHECK_INT(take(n, &why), -ERR_UNAVAILABLE);
    CHECK_STR(why.text, "no proxy listens at port 15008 (IPv4)");
    AUTO(proxy) struct proxy p = proxy_listen(n, ROLE_PROXY);
    CHECK_INT(take(n, &why), 0);
    AUTO(text) char *said = podnet_run(n.pod, "nft flush chain inet ambit out");
    CHECK_INT(take(n, &why), -ERR_UNAVAILABLE);
}

TEST(a_proxy_without_ipv6_will_do_where_the_pod_has_none)
{
    AUTO(podnet) struct podnet n = podnet_make();
    static const uint16_t ports[] = {RULES_PORT_OUTBOUND, RULES_PORT_INBOUND, RULES_PORT_HBONE};

    CHECK_INT(install(n), 0);
    AUTO(fd) int a = podnet_listen(n.pod, ROLE_PROXY, any(IP_V4), ports[0]);
    AUTO(fd) int b = podnet_listen(n.pod, ROLE_PROXY, any(IP_V4), ports[1]);
    AUTO(fd) int c = podnet_listen(n.pod, ROLE_PROXY, any(IP_V4), ports[2]);
    CHECK_INT(take(n, NULL), -ERR_UNAVAILABLE);
    AUTO(text)
    char *said = podnet_run(n.pod, "ip -6 addr flush dev eth0; ip -6 route flush dev eth0");
    CHECK_INT(take(n, NULL), 0);
}

TEST(a_listener_without_the_proxys_mark_proves_nothing)
{
    AUTO(podnet) struct podnet n = podnet_make();

    CHECK_INT(install(n), 0);
    AUTO(proxy) struct proxy impostor = proxy_listen(n, ROLE_APP);
    CHECK_INT(take(n, NULL), -ERR_UNAVAILABLE);
}

TEST(carried_connections_are_counted_until_the_last_has_ended)
{
    AUTO(podnet) struct podnet n = podnet_make();
    struct endpoint far = {podnet_node_ip(IP_V4), 9090};
    struct endpoint client = {podnet_node_ip(IP_V4), 0};
    struct endpoint app_at = {podnet_pod_ip(IP_V4), 8080};

    CHECK_INT(install(n), 0);
    AUTO(proxy) struct proxy p = proxy_listen(n, ROLE_PROXY);
    AUTO(fd) int node = podnet_listen(n.node, ROLE_APP, any(IP_V4), 9090);
    CHECK_INT(carried(n), 0);

    int app = podnet_connect(n.pod, ROLE_APP, NULL, far);
    int taken = podnet_accept(p.fd[0]);
    CHECK_INT(carried(n), 1); /* the application's end bears no mark */
    int onward = podnet_connect(n.pod, ROLE_PROXY, NULL, far);
    CHECK_INT(carried(n), 2);
    close(app);
    close(taken);
    close(onward);
    CHECK_INT(carried_then(n, 0), 0);

    AUTO(fd) int server = podnet_listen(n.pod, ROLE_APP, any(IP_V4), 8080);
    int inward = podnet_connect(n.pod, ROLE_PROXY, &client, app_at);
    int accepted = podnet_accept(server);
    CHECK_INT(carried(n), 2); /* the server's socket inherits the mark */
    close(inward);
    CHECK_INT(carried_then(n, 1), 1); /* the application may still be sending */
    close(accepted);
    CHECK_INT(carried_then(n, 0), 0);
}

TEST(an_idle_tunnel_carries_nobody)
{
    AUTO(podnet) struct podnet n = podnet_make();
    struct endpoint far = {podnet_node_ip(IP_V4), RULES_PORT_HBONE};
    AUTO(fd) int peer = podnet_listen(n.node, ROLE_APP, any(IP_V4), RULES_PORT_HBONE);
    AUTO(fd) int tunnel = podnet_connect(n.pod, ROLE_PROXY, NULL, far);

    CHECK(tunnel >= 0);
    CHECK_INT(carried(n), 0);
}
