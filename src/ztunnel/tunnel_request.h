/* SPDX-License-Identifier: Apache-2.0 */
/* One CONNECT that came over a tunnel (contract 2.6, 3.4). */
#pragma once

#include "hbone/server.h"
#include "model/identity.h"
#include "ztunnel/pod.h"

struct tunnel_facts {            /* borrowed */
    struct endpoint client;      /* TCP peer of the tunnel */
    struct endpoint local;       /* the pod's end of it */
    const struct identity *peer; /* whose certificate it presented */
};

/* Takes request and answers it, sooner or later. */
void tunnel_request_open(struct pod *p, struct hbone_request *take_request,
                         const struct tunnel_facts *facts);
