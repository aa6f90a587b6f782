/* SPDX-License-Identifier: Apache-2.0 */
#include "node/local_net.h"

#include <dirent.h>
#include <linux/netlink.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/num.h"
#include "io/netns.h"
#include "node/pinned_netns.h"
#include "node/rtnl.h"
#include "node/sysctl.h"

/* FNV-1a: names need not resist anybody, only differ. */
void local_net_link_name(const char *uid, char out[static IFNAMSIZ])
{
    uint64_t h = 14695981039346656037u;

    for (const char *p = uid; *p; p++) {
        h = (h ^ (uint8_t)*p) * 1099511628211u;
    }
    (void)snprintf(out, IFNAMSIZ, "amb%012llx", (unsigned long long)(h >> 16)); /* 15 bytes */
}

static struct ip gateway(unsigned family)
{
    const char *text = family == IP_V4 ? LOCAL_NET_GATEWAY_V4 : LOCAL_NET_GATEWAY_V6;
    struct ip ip = {0};

    return ip_parse(&ip, text, strlen(text)) == 0 ? ip : (struct ip){0};
}

static struct ip_prefix alone(const struct ip *ip)
{
    return (struct ip_prefix){*ip, ip->family == IP_V4 ? 32 : 128};
}

/* The node's end: the gateway's address on it, and the way to each of the pod's. */
static int set_up_node_end(struct netlink *n, const struct local_net *net, unsigned link,
                           struct diag *why)
{
    int r = rtnl_link_up_blocking(n, link, why);

    for (unsigned i = 0; r == 0 && i < net->ip_count; i++) {
        struct ip gw = gateway(net->ips[i].family);
        struct ip_prefix on_link = {gw, gw.family == IP_V4 ? 32 : 64};
        struct rtnl_route to_pod = {.to = alone(&net->ips[i]), .link = link};
        r = rtnl_address_add_blocking(n, link, &on_link, why);
        if (r == 0 || r == -EEXIST) {
            r = rtnl_route_set_blocking(n, &to_pod, why);
        }
    }
    return r;
}

static int set_up_pod_end(struct netlink *n, const struct local_net *net, struct diag *why)
{
    unsigned link;
    int r = rtnl_link_find_blocking(n, "eth0", &link, why);

    if (r == 0) {
        r = rtnl_link_up_blocking(n, link, why);
    }
    for (unsigned i = 0; r == 0 && i < net->ip_count; i++) {
        struct ip_prefix own = alone(&net->ips[i]);
        r = rtnl_address_add_blocking(n, link, &own, why);
    }
    for (unsigned i = 0; r == 0 && i < net->ip_count; i++) {
        r = rtnl_address_await_blocking(n, &net->ips[i], why);
    }
    for (unsigned i = 0; r == 0 && i < net->ip_count; i++) {
        struct ip gw = gateway(net->ips[i].family);
        struct rtnl_route out = {.to.ip.family = gw.family, .via = &gw, .link = link};
        r = rtnl_route_set_blocking(n, &out, why);
    }
    return r;
}

/* A workload is not root and may still want port 80, and ping. */
static int set_pod_sysctls(struct diag *why)
{
    int r = sysctl_set_blocking("ipv4/ip_unprivileged_port_start", "0", why);

    return r < 0 ? r : sysctl_set_blocking("ipv4/ping_group_range", "0 2147483647", why);
}

static int set_up_inside(int netns, const struct local_net *net, struct diag *why)
{
    NETNS_VISIT(visit);
    AUTO(netlink) struct netlink *n = NULL;
    int r = netns_enter_blocking(&visit, netns, why);

    if (r == 0) {
        r = netlink_open_blocking(NETLINK_ROUTE, &n, why);
    }
    if (r == 0) {
        r = set_up_pod_end(n, net, why);
    }
    return r < 0 ? r : set_pod_sysctls(why);
}

static int connect_node(int netns, const struct local_net *net, struct diag *why)
{
    AUTO(netlink) struct netlink *n = NULL;
    unsigned link = 0;
    int r = netlink_open_blocking(NETLINK_ROUTE, &n, why);

    if (r == 0) {
        r = rtnl_veth_add_blocking(n, net->link, "eth0", netns, why);
    }
    if (r == 0) {
        r = rtnl_link_find_blocking(n, net->link, &link, why);
    }
    return r < 0 ? r : set_up_node_end(n, net, link, why);
}

static int furnish(const struct local_net *net, struct diag *why)
{
    int netns;
    int r = netns_open(net->netns_path, &netns, why);

    if (r < 0) {
        return r;
    }
    r = connect_node(netns, net, why);
    if (r == 0) {
        r = set_up_inside(netns, net, why);
    }
    close(netns);
    return r;
}

int local_net_make_blocking(const struct local_net *n, struct diag *why)
{
    int r = pinned_netns_make_blocking(n->netns_path, why);

    if (r < 0) {
        return r;
    }
    r = furnish(n, why);
    if (r < 0 && local_net_unmake_blocking(n, NULL) < 0) {
        (void)FAIL(why, r, "%s stays behind", n->netns_path); /* r is what is returned */
    }
    return r;
}

static bool is_inside(const char *pid, struct netns_id inside)
{
    struct netns_id id;
    char path[320];
    int fd;

    (void)snprintf(path, sizeof(path), "/proc/%s/ns/net", pid); /* a name has at most 255 bytes */
    if (netns_open(path, &fd, NULL) < 0) {
        return false;
    }
    bool same = netns_identify(fd, &id, NULL) == 0 && netns_id_equal(id, inside);
    close(fd);
    return same;
}

/* How many there were. */
static unsigned kill_round(struct netns_id inside)
{
    DIR *dir = opendir("/proc");
    const struct dirent *e;
    unsigned count = 0;
    uint32_t pid;

    while (dir && (e = readdir(dir))) { // the stream is ours
        if (num_parse_u32(e->d_name, strlen(e->d_name), INT32_MAX, &pid) == 0 &&
            is_inside(e->d_name, inside)) {
            count++;
            (void)kill((pid_t)pid, SIGKILL); /* it may be gone already */
        }
    }
    if (dir) {
        closedir(dir);
    }
    return count;
}

/* A process that forks as it is being killed needs another round. */
static int end_processes(const char *path, struct diag *why)
{
    enum { ROUNDS_FOR_MS = 5000 };
    struct netns_id inside;
    int fd;

    if (netns_open(path, &fd, NULL) < 0) {
        return 0; /* no namespace, nobody in it */
    }
    int r = netns_identify(fd, &inside, why);
    close(fd);
    uint64_t start = clock_mono_ms();
    while (r == 0 && kill_round(inside) > 0) {
        if (clock_mono_ms() - start > ROUNDS_FOR_MS) {
            r = FAIL(why, -ERR_DEADLINE, "end processes in %s", path);
        }
    }
    return r;
}

static int delete_link(const char *name, struct diag *why)
{
    AUTO(netlink) struct netlink *n = NULL;
    unsigned link;
    int r = netlink_open_blocking(NETLINK_ROUTE, &n, why);

    if (r == 0) {
        r = rtnl_link_find_blocking(n, name, &link, why);
    }
    if (r == 0) {
        r = rtnl_link_delete_blocking(n, link, why);
    }
    return r == -ENODEV ? 0 : r;
}

int local_net_unmake_blocking(const struct local_net *n, struct diag *why)
{
    int r = end_processes(n->netns_path, why);

    if (r == 0) {
        r = delete_link(n->link, why);
    }
    return r < 0 ? r : pinned_netns_unmake_blocking(n->netns_path, why);
}

int local_net_prepare_node_blocking(struct diag *why)
{
    static const char *const keys[] = {"ipv4/ip_forward", "ipv6/conf/all/forwarding"};

    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        if (sysctl_is_set_blocking(keys[i])) {
            continue;
        }
        int r = sysctl_set_blocking(keys[i], "1", why);
        if (r < 0 && r != -ENOENT) { /* a node without IPv6 has no such key */
            return r;
        }
    }
    return 0;
}
