/* SPDX-License-Identifier: Apache-2.0 */
#include "node/capture.h"

#include <stdio.h>
#include <string.h>

#include "node/host_rules.h"
#include "node/pod_netns.h"
#include "node/proof.h"
#include "node/sock_diag.h"

/* A uid comes from the API: it must not name another folder. */
static bool is_file_name(const char *s)
{
    return s[0] != '\0' && s[0] != '.' && !strchr(s, '/');
}

static int find(const struct pod *pod, const char *netns_dir, int *out_netns, struct diag *why)
{
    char path[512];
    int n = snprintf(path, sizeof(path), "%s/%s", netns_dir, pod->uid);

    if (!is_file_name(pod->uid) || n < 0 || (size_t)n >= sizeof(path)) {
        return FAIL(why, -ERR_NOT_FOUND, "pod with a strange uid");
    }
    int r = netns_open(path, out_netns, NULL);
    return r == -ENOENT || r == -EINVAL ? pod_netns_find_blocking("/proc", pod, out_netns, why) : r;
}

static int inspect(int netns, const struct rules *rules, enum rules_state *out, struct diag *why)
{
    NETNS_VISIT(visit);
    int r = netns_enter_blocking(&visit, netns, why);

    return r < 0 ? r : rules_inspect_blocking(rules, out, why);
}

static int install_inside(int netns, const struct rules *rules, struct diag *why)
{
    NETNS_VISIT(visit);
    int r = netns_enter_blocking(&visit, netns, why);

    return r < 0 ? r : rules_install_blocking(rules, why);
}

/* Somebody may have taken all rules away from the host: 1 if so. */
static int put_probed(const struct ip *ip, const char *uid, struct diag *why)
{
    int r = host_rules_put_blocking(ip, uid, why);

    if (r == -ENOENT) {
        r = host_rules_ensure_blocking(why);
        r = r < 0 ? r : host_rules_put_blocking(ip, uid, why);
        return r < 0 ? r : 1;
    }
    return r;
}

static int install(int netns, const struct pod *pod, const struct rules *rules, struct diag *why)
{
    bool were_gone = false;
    int r = 0;

    /* The host's rules first: where they are missing, no pod gets the exemption. */
    for (unsigned i = 0; r >= 0 && rules->probes && i < pod->ip_count; i++) {
        r = put_probed(&pod->ips[i], pod->uid, why);
        were_gone = were_gone || r > 0;
    }
    if (r >= 0) {
        r = install_inside(netns, rules, why);
    }
    return r < 0 ? r : were_gone;
}

static int prove(int netns, const struct rules *rules, struct diag *why)
{
    NETNS_VISIT(visit);
    int r = netns_enter_blocking(&visit, netns, why);

    return r < 0 ? r : proof_take_blocking(rules, why);
}

static int leave(int netns, const struct rules *rules, struct diag *why)
{
    NETNS_VISIT(visit);
    int r = netns_enter_blocking(&visit, netns, why);

    return r < 0 ? r : rules_leave_blocking(rules, why);
}

static int count(int netns, unsigned *out, struct diag *why)
{
    NETNS_VISIT(visit);
    int r = netns_enter_blocking(&visit, netns, why);

    return r < 0 ? r : sock_diag_count_carried_blocking(out, why);
}

static int remove_inside(int netns, struct diag *why)
{
    NETNS_VISIT(visit);
    int r = netns_enter_blocking(&visit, netns, why);

    return r < 0 ? r : rules_remove_blocking(why);
}

static int remove_all(int netns, const struct pod *pod, const struct rules *rules, struct diag *why)
{
    int r = remove_inside(netns, why);

    for (unsigned i = 0; r == 0 && rules->probes && i < pod->ip_count; i++) {
        r = host_rules_drop_blocking(&pod->ips[i], why);
    }
    return r;
}

const struct capture_ops capture_kernel = {
    .find = find,
    .inspect = inspect,
    .install = install,
    .prove = prove,
    .leave = leave,
    .count = count,
    .remove = remove_all,
};
