/* SPDX-License-Identifier: Apache-2.0 */
/* A node proxy that listens in every pod it is given, says yes to everything, and carries nothing. */
#pragma once

#include <stdbool.h>

enum { FAKE_PROXY_PODS = 8, FAKE_PROXY_LISTENERS = 6 };

struct fake_proxy {
    char path[96];
    int fd; /* -1: not connected */
    struct {
        char uid[64]; /* "": free */
        int listeners[FAKE_PROXY_LISTENERS];
    } pods[FAKE_PROXY_PODS];
};

void fake_proxy_start(struct fake_proxy *p, const char *path);
void fake_proxy_stop(struct fake_proxy *p);
/* Connects, or obeys what has come; false if there was nothing to do. */
bool fake_proxy_pump(struct fake_proxy *p);
unsigned fake_proxy_pods(const struct fake_proxy *p);
