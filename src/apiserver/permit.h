/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who may do what. Three sorts of users: administrators may do everything; a node's agent may read
 * what it needs to run its node and write its own Node and the pods of its own node; everybody else,
 * workloads included, may only ask who they are. Deny is the zero answer. Pure.
 */
#pragma once

#include <stdbool.h>

struct api_user;

struct permit_question {
    const char *verb; /* get list watch create update patch delete deletecollection */
    const char *group;
    const char *resource;
    const char *sub; /* "" = none */
    const char *ns;
    const char *name;
    const char *node; /* lists and watches: the node that the selector asks for; NULL = any */
};

bool permit_allows(const struct api_user *user, const struct permit_question *q);
/* A node's credential, which gets what is its node's. */
bool permit_is_node(const struct api_user *user);
/* A pod's node decides, where the user is a node. */
bool permit_allows_pod_of(const struct api_user *user, const char *node);
