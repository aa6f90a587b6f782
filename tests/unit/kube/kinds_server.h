/* SPDX-License-Identifier: Apache-2.0 */
/* An API server that has every kind, and is told of one what to say of it. Lists are empty but for that
 * kind's, which holds one object; a watch ends at once. */
#pragma once

#include "http/http_server.h"
#include "kube/client.h"

struct kinds_server {
    /* to be set */
    const char *kind; /* plural */
    bool is_served;
    const char *definition; /* a body */
    unsigned definition_status;
    const char *group; /* a body; NULL: there is no such group */
    /* what was asked for */
    unsigned lists; /* of the kind */
    unsigned definitions;
    unsigned groups;
    /* private */
    struct loop *loop;
    struct task task;
    struct http_server *server;
    struct jobs *jobs;
    struct kube_client *client;
};

/* Bodies of definition: authorizationpolicies.security.istio.io. */
extern const char kinds_there[];
extern const char kinds_unserved[]; /* v1 is not */
extern const char kinds_absent[];   /* with 404 */
/* Of its group, with and without the kind. */
extern const char kinds_named[];
extern const char kinds_unnamed[];

/* With a client of its own. The loop's clock is the test's. */
void kinds_server_start(struct kinds_server *s, struct loop *l, const char *kind);
void kinds_server_stop(struct kinds_server *s);
void kinds_server_say(struct kinds_server *s, unsigned status, const char *definition);
