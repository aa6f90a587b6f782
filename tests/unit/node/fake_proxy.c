/* SPDX-License-Identifier: Apache-2.0 */
#include "fake_proxy.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "node/rules.h"
#include "podnet.h"
#include "zds.pb-c.h"

void fake_proxy_start(struct fake_proxy *p, const char *path)
{
    *p = (struct fake_proxy){.fd = -1};
    (void)snprintf(p->path, sizeof(p->path), "%s", path);
}

static int find(const struct fake_proxy *p, const char *uid)
{
    for (int i = 0; i < FAKE_PROXY_PODS; i++) {
        if (strcmp(p->pods[i].uid, uid) == 0) {
            return i;
        }
    }
    return -1;
}

static void let_go(struct fake_proxy *p, int i)
{
    for (int n = 0; n < FAKE_PROXY_LISTENERS; n++) {
        podnet_close_fd(p->pods[i].listeners[n]);
    }
    p->pods[i].uid[0] = '\0';
}

static void serve(struct fake_proxy *p, const char *uid, int netns)
{
    static const uint16_t ports[] = {RULES_PORT_OUTBOUND, RULES_PORT_INBOUND, RULES_PORT_HBONE};
    int i = find(p, uid);

    if (i >= 0) {
        return;
    }
    i = find(p, "");
    (void)snprintf(p->pods[i].uid, sizeof(p->pods[i].uid), "%s", uid);
    for (int n = 0; n < FAKE_PROXY_LISTENERS; n++) {
        struct ip any = podnet_ip(n < 3 ? "0.0.0.0" : "::");
        p->pods[i].listeners[n] = podnet_listen(netns, ROLE_PROXY, any, ports[n % 3]);
    }
}

void fake_proxy_stop(struct fake_proxy *p)
{
    podnet_close_fd(p->fd);
    for (int i = 0; i < FAKE_PROXY_PODS; i++) {
        if (p->pods[i].uid[0] != '\0') {
            let_go(p, i);
        }
    }
}

static bool dial(struct fake_proxy *p)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    memcpy(a.sun_path, p->path, strlen(p->path));
    if (connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0 ||
        send(fd, "\x08\x01", 2, MSG_NOSIGNAL) < 0) {
        close(fd);
        return false;
    }
    p->fd = fd;
    return true;
}

static void obey(struct fake_proxy *p, const Zds__WorkloadRequest *m, int netns)
{
    if (m->payload_case == ZDS__WORKLOAD_REQUEST__PAYLOAD_ADD) {
        serve(p, m->add->uid, netns);
    } else if (m->payload_case == ZDS__WORKLOAD_REQUEST__PAYLOAD_DEL && find(p, m->del->uid) >= 0) {
        let_go(p, find(p, m->del->uid));
    }
}

bool fake_proxy_pump(struct fake_proxy *p)
{
    uint8_t packet[1024];
    union {
        struct cmsghdr head;
        char room[CMSG_SPACE(sizeof(int))];
    } control;
    struct iovec room = {packet, sizeof(packet)};
    struct msghdr m = {.msg_iov = &room,
                       .msg_iovlen = 1,
                       .msg_control = &control,
                       .msg_controllen = sizeof(control)};
    int netns = -1;

    if (p->fd < 0) {
        return dial(p);
    }
    ssize_t n = recvmsg(p->fd, &m, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    if (n <= 0) {
        if (n == 0) {
            close(p->fd);
            p->fd = -1;
        }
        return n == 0;
    }
    if (CMSG_FIRSTHDR(&m)) {
        memcpy(&netns, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof(netns));
    }
    Zds__WorkloadRequest *request = zds__workload_request__unpack(NULL, (size_t)n, packet);
    if (request) {
        obey(p, request, netns);
        zds__workload_request__free_unpacked(request, NULL);
    }
    podnet_close_fd(netns);
    (void)send(p->fd, "\x0a\x00", 2, MSG_NOSIGNAL);
    return true;
}

unsigned fake_proxy_pods(const struct fake_proxy *p)
{
    unsigned count = 0;

    for (int i = 0; i < FAKE_PROXY_PODS; i++) {
        count += p->pods[i].uid[0] != '\0';
    }
    return count;
}
