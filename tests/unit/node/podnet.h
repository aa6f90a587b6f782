/* SPDX-License-Identifier: Apache-2.0 */
/* A node and a pod as two network namespaces of the test's own, joined by a veth, dual stack; and
 * sockets in either. Everything is gone when the descriptors are closed. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/ip.h"

struct podnet {
    int node; /* namespace descriptors; -1: none */
    int pod;
};

/* Exits when the kernel refuses: a test must not pass for want of namespaces. */
struct podnet podnet_make(void);
void podnet_free(struct podnet n);
AUTO_DEFINE(podnet, struct podnet, podnet_free);

/* Another pod of the node, 10.78.0.2 behind 10.78.0.1: its namespace, the caller's. */
int podnet_neighbour(struct podnet n);

/* The addresses, by family. */
struct ip podnet_node_ip(enum ip_family f);
struct ip podnet_pod_ip(enum ip_family f);
struct ip podnet_ip(const char *text);

void podnet_close_fd(int fd);
AUTO_DEFINE(fd, int, podnet_close_fd);

enum socket_role { ROLE_APP, ROLE_PROXY }; /* the proxy's carry its mark and are transparent */

int podnet_listen(int ns, enum socket_role role, struct ip at, uint16_t port);
/* A connected socket or -errno. from may be NULL. */
int podnet_connect(int ns, enum socket_role role, const struct endpoint *from, struct endpoint to);
/* Nobody answers there, for two seconds, or somebody refuses. */
bool podnet_is_cut_off(int ns, enum socket_role role, const struct endpoint *from,
                       struct endpoint to);
int podnet_accept(int listener);
/* Nothing is waiting to be accepted. */
bool podnet_is_idle(int listener);
struct endpoint podnet_local(int fd);
struct endpoint podnet_peer(int fd);
struct endpoint podnet_original_destination(int fd);
/* A byte goes from a to b and another one back. */
bool podnet_talk(int a, int b);

int podnet_udp(int ns, enum socket_role role, struct ip at, uint16_t port);

/* Runs a command in a namespace; its standard output, the caller's. */
char *podnet_run(int ns, const char *command);
