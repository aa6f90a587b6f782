/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The waypoint's own certificate as one loop holds it: asked of the certificate manager by mail, asked
 * again before the manager renews it, so that a rotation reaches new handshakes within seconds.
 */
#pragma once

#include "ca/cert_manager.h"
#include "io/loop.h"

enum { OWN_REFRESH_MS = 5000, OWN_RETRY_MS = 1000 };

struct own { /* embedded */
    struct task task;
    struct timer next;
    struct cert_manager *certs; /* on the control loop */
    const struct identity *identity;
    struct cert_wait *wait;
    struct credential *credential; /* NULL: none yet */
    struct diag error;             /* of the last attempt; code 0: it went well */
    struct list waiting;           /* struct own_wait */
};

/* Who waits for the first certificate. Embedded. */
struct own_wait {
    struct list in_row;
    struct task *task; /* NULL: does not wait */
};

/* Everything is borrowed. On the loop, before or while it runs. */
void own_init(struct own *o, struct loop *l, struct cert_manager *certs,
              const struct identity *identity);
void own_fini(struct own *o);
/* (*) 0: *out is borrowed until the turn ends, and valid now. -EAGAIN: own_wait_start; *why is why the
 * last attempt failed, if it did: the next one follows soon. */
MUST_USE int own_credential(struct own *o, struct credential **out, struct diag *why);
/* w's task is woken with WAKE_CHILD when there is news. */
void own_wait_start(struct own *o, struct own_wait *w, struct task *t);
void own_wait_stop(struct own_wait *w);
