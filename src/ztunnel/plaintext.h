/* SPDX-License-Identifier: Apache-2.0 */
/* Plain connections from outside the mesh (port 15006, contract 3.5). */
#pragma once

#include "ztunnel/pod.h"

/* An acceptor_open. */
void plaintext_open(struct pod *p, int take_fd, const struct endpoint *peer);
