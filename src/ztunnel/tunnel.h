/* SPDX-License-Identifier: Apache-2.0 */
/* Tunnels that other node proxies open to the pod (port 15008, contract 3.4). */
#pragma once

#include "ztunnel/pod.h"

/* An acceptor_open. */
void tunnel_open(struct pod *p, int take_fd, const struct endpoint *peer);
