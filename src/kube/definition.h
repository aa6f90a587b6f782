/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a 404 for a list means. A server that is starting answers so for kinds which
 * CustomResourceDefinitions make, until it has read them: only the definition itself can say that there
 * is no such kind. Where a role does not let us read it, what the server says of the kind's group is
 * asked for instead. That comes of what the server has read, too: ask twice, some time apart.
 */
#pragma once

#include "base/err.h"

struct kube_client;
struct kube_resource;
struct task;

enum definition_verdict {
    DEFINITION_THERE,    /* or the group names the kind: it will be served */
    DEFINITION_UNSERVED, /* it is there, but not this version of it */
    DEFINITION_ABSENT,
    DEFINITION_UNNAMED /* it could not be read, and the group does not name the kind */
};

struct definition_check;

/* resource outlives it; owner is woken with WAKE_CHILD. */
struct definition_check *definition_check_new(struct kube_client *c,
                                              const struct kube_resource *resource,
                                              struct task *owner);
/* 0: *out. -EAGAIN: later. Else the server did not say, and why. */
MUST_USE int definition_check_take(struct definition_check *d, enum definition_verdict *out,
                                   struct diag *why);
void definition_check_free(struct definition_check *d);
