/* SPDX-License-Identifier: Apache-2.0 */
/* One CONNECT that came over a tunnel (contract 2.6, 3.4). */
#pragma once

#include "hbone/server.h"
#include "ztunnel/inbound.h"

/* Takes request and answers it, sooner or later. */
void tunnel_request_open(struct pod *p, struct hbone_request *take_request,
                         struct inbound_origin *from);
