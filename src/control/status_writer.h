/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes what the index has to say into the API: the status of policies, services, gateways and
 * routes, and the objects that gateways need. A few writes at a time; what fails is tried again later, what meanwhile changed is
 * found again by the index. The control loop.
 */
#pragma once

#include "control/index.h"
#include "io/loop.h"

struct kube_client;

enum {
    STATUS_WRITES_MAX = 8, /* under way */
    STATUS_RETRY_MS = 5000,
    STATUS_RETRIES_MAX = 1024, /* waiting to be tried again; more are left to the next change */
    STATUS_TRIES = 6           /* that the server answered; while it is away there is no end */
};

struct status_writer;

struct status_writer *status_writer_new(struct loop *l, struct kube_client *client,
                                        struct index *index);
void status_writer_free(struct status_writer *w);
AUTO_DEFINE(status_writer, struct status_writer *, status_writer_free);
/* The index may have something to say. */
void status_writer_poke(struct status_writer *w);

struct status_writer_stats {
    uint64_t written;
    uint64_t failed;
};
const struct status_writer_stats *status_writer_stats(const struct status_writer *w);
