/* SPDX-License-Identifier: Apache-2.0 */
#include "node/pod.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "io/netns.h"
#include "node/pod_netns.h"
#include "podnet.h"
#include "t.h"

/* Literals stand in for a pod's own strings: these pods are never freed. */
static char *text(const char *s)
{
    return (char *)(uintptr_t)s;
}

static struct pod plain(void)
{
    return (struct pod){
        .uid = text("u"), .namespace = text("shop"), .name = text("cart"), .ip_count = 1};
}

TEST(labels_decide_who_is_in_the_mesh_and_the_pods_own_beats_its_namespaces)
{
    static const struct {
        const char *pod_mode;
        const char *namespace_mode;
        bool in;
    } cases[] = {
        {NULL, NULL, false},      {NULL, "ambient", true},      {NULL, "none", false},
        {"ambient", NULL, true},  {"ambient", "none", true},    {"none", "ambient", false},
        {"none", NULL, false},    {"sidecar", "ambient", true}, {"sidecar", NULL, false},
        {"Ambient", NULL, false}, {"", "ambient", true},        {NULL, "", false},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct pod p = plain();
        p.dataplane_mode = text(cases[i].pod_mode);
        CHECK_INT(pod_wants_mesh(&p, cases[i].namespace_mode), cases[i].in);
    }
}

TEST(some_pods_are_never_in_the_mesh)
{
    for (int i = 0; i < 6; i++) {
        struct pod p = plain();
        p.dataplane_mode = text("ambient");
        p.host_network = i == 1;
        p.has_sidecar = i == 2;
        p.is_node_proxy = i == 3;
        p.is_terminal = i == 4;
        p.ip_count = i == 5 ? 0 : 1;
        CHECK_INT(pod_wants_mesh(&p, "ambient"), i == 0);
    }
}

TEST(annotations_become_rules)
{
    struct pod p = plain();

    p.bypass_inbound = true;
    p.virtual_interfaces = text("virt0, a-name-that-is-too-long,,virt1");
    struct rules r = pod_rules(&p, true);
    CHECK(!r.inbound);
    CHECK(!r.dns);
    CHECK(r.probes);
    CHECK_INT(r.virtual_count, 2);
    CHECK_STR(r.virtual_links[0], "virt0");
    CHECK_STR(r.virtual_links[1], "virt1");
    p = plain();
    p.dns = true;
    struct rules usual = {.inbound = true, .dns = true};
    r = pod_rules(&p, false);
    CHECK(rules_equal(&r, &usual));
}

TEST(more_virtual_interfaces_than_the_limit_are_left_out)
{
    struct pod p = plain();

    p.virtual_interfaces = text("a,b,c,d,e,f,g,h,i,j");
    CHECK_INT(pod_rules(&p, false).virtual_count, RULES_VIRTUAL_MAX);
}

TEST(booleans_are_those_of_the_api_and_nonsense_is_absent)
{
    static const char *const yes[] = {"1", "t", "T", "true", "TRUE", "True"};
    static const char *const no[] = {"0", "f", "F", "false", "FALSE", "False"};
    static const char *const neither[] = {"", "yes", "tRUE", " true", "2"};

    for (size_t i = 0; i < ARRAY_LEN(yes); i++) {
        CHECK(pod_bool(yes[i], false));
        CHECK(!pod_bool(no[i], true));
    }
    for (size_t i = 0; i < ARRAY_LEN(neither); i++) {
        CHECK(pod_bool(neither[i], true));
        CHECK(!pod_bool(neither[i], false));
    }
    CHECK(pod_bool(NULL, true));
}

#define OTHER "99999999-1111-4222-8333-444455556666"
#define UID   "2f0d7b0c-1111-4222-8333-444455556666"

TEST(control_groups_name_their_pod_in_every_runtimes_dialect)
{
    static const struct {
        const char *line;
        bool mine;
    } cases[] = {
        {"0::/kubepods/burstable/pod" UID "/abc123", true},
        {"0::/kubepods.slice/kubepods-burstable.slice/"
         "kubepods-burstable-pod2f0d7b0c_1111_4222_8333_444455556666.slice/"
         "cri-containerd-abc.scope",
         true},
        {"11:memory:/kubepods/besteffort/pod" UID "/abc", true},
        {"1:name=systemd:/kubelet/kubepods/pod" UID "/crio-abc", true},
        {"0::/kubepods/pod" UID "/abc/x-pod" OTHER "-/y", true},
        {"0::/kubepods/pod" OTHER "/abc/x-pod" UID "-/y", false},
        {"0::/kubepods/pod" OTHER "/abc/pod" UID "/y", false},
        {"0::/kubepods/podaaaaaaaabbbbbbbbccccccccdddddddd/abc/pod" UID "/y", false}, /* static */
        {"0::/pod-manager/kubepods/pod" UID "/abc", true},
        {"0::/kubepods/pod" UID, false},
        {"0::/kubepods/pod2f0d7b0c-1111-4222-8333-444455556667/abc", false},
        {"0::/kubepods/pod" UID "0/abc", false},
        {"0::/system.slice/" UID "/abc", false},
        {"0::/system.slice/xpod" UID "/abc", false},
        {"/kubepods/pod" UID "/abc", false},
        {"", false},
        {"0::", false},
        {"0::/", false},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        CHECK_INT(pod_netns_is_cgroup_of(slice_of(cases[i].line), UID), cases[i].mine);
    }
    CHECK(!pod_netns_is_cgroup_of(slice_of("0::/kubepods/pod/abc"), ""));
}

/* A folder that looks like /proc: each process has a control group, a start time and a namespace. */
struct fake_proc {
    char dir[32];
};

static void write_file(const char *path, const char *text)
{
    FILE *f = fopen(path, "we");

    if (f) {
        (void)fputs(text, f);
        (void)fclose(f);
    }
}

static void add_process(const struct fake_proc *p, int pid, const char *uid, unsigned started,
                        int netns)
{
    char command[256];
    char path[128];
    char line[256];
    char link[64];

    (void)snprintf(command, sizeof(command), "mkdir -p %s/%d/ns", p->dir, pid);
    AUTO(text) char *said = podnet_run(netns, command);
    (void)snprintf(path, sizeof(path), "%s/%d/cgroup", p->dir, pid);
    (void)snprintf(line, sizeof(line), "0::/kubepods/pod%s/abc\n", uid);
    write_file(path, line);
    (void)snprintf(path, sizeof(path), "%s/%d/stat", p->dir, pid);
    (void)snprintf(line, sizeof(line), "%d (a )b) S 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 %u 0\n",
                   pid, started);
    write_file(path, line);
    (void)snprintf(path, sizeof(path), "%s/%d/ns/net", p->dir, pid);
    (void)snprintf(link, sizeof(link), "/proc/self/fd/%d", netns);
    if (symlink(link, path) < 0) {
        printf("Bail out! symlink\n");
    }
}

TEST(the_namespace_is_that_of_the_oldest_process_that_holds_the_pods_address)
{
    AUTO(podnet) struct podnet n = podnet_make();
    struct fake_proc proc = {"/tmp/node-proc-XXXXXX"};
    struct pod pod = plain();
    struct netns_id got;
    struct netns_id want;
    int fd = -1;

    CHECK(mkdtemp(proc.dir));
    pod.uid = text(UID);
    pod.ips[0] = podnet_pod_ip(IP_V6);
    int empty = pod_netns_find_blocking(proc.dir, &pod, &fd, NULL);
    add_process(&proc, 10, "another", 1, n.pod);
    add_process(&proc, 11, UID, 5, n.node); /* a stranger in the pod's group */
    int strangers = pod_netns_find_blocking(proc.dir, &pod, &fd, NULL);
    add_process(&proc, 12, UID, 50, n.pod);
    int r = pod_netns_find_blocking(proc.dir, &pod, &fd, NULL);
    CHECK_INT(netns_identify(fd, &got, NULL), 0);
    CHECK_INT(netns_identify(n.pod, &want, NULL), 0);
    close(fd);
    char command[64];
    (void)snprintf(command, sizeof(command), "rm -r %s", proc.dir);
    AUTO(text) char *said = podnet_run(n.pod, command);
    CHECK_INT(empty, -ERR_NOT_FOUND);
    CHECK_INT(strangers, -ERR_NOT_FOUND);
    CHECK_INT(r, 0);
    CHECK(netns_id_equal(got, want));
}
