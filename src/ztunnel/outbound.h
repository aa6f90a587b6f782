/* SPDX-License-Identifier: Apache-2.0 */
/* Connections that the pod's applications open (port 15001, contract 3.2). */
#pragma once

#include "ztunnel/pod.h"

/* An acceptor_open. */
void outbound_open(struct pod *p, int take_fd, const struct endpoint *peer);
