/* SPDX-License-Identifier: Apache-2.0 */
/* What the tools of the benchmark share: sockets, time, numbers; every failure ends the program. */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct epoll_event;

_Noreturn void die(const char *what);
void *need(void *p);
uint64_t now_ns(void);
uint64_t number(const char *text);
void raise_limits(void);

struct sockaddr_in address(const char *host, uint16_t port);
int listen_at(uint16_t port);
/* A connection that is under way; mark 0 leaves the socket unmarked. */
int connect_to(const struct sockaddr_in *to, uint32_t mark);
void set_nodelay(int fd);
void watch_fd(int epoll, int fd, uint32_t events, uint64_t key);
void change_fd(int epoll, int fd, uint32_t events, uint64_t key);
