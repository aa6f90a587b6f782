/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which nodes may run a service account's pods by their own credential, so that whoever takes a node gets
 * the identities that run there and no more. The annotation ambit.io/allowed-nodes says it, of the account,
 * else of its namespace: "n1,n2"; "*" = every node; "" = none. Where neither has it, the account is the
 * node's that first runs a pod of it, which is then written into its annotation. Only "default" stays
 * free: two nodes of a newcomer both use it, and what names nobody has no owner. Administrators are not
 * limited.
 */
#pragma once

#include "base/err.h"

struct call;
struct json;

/* Before a pod of the caller's node is created: 0, or the refusal is written. */
MUST_USE int account_owner_check(struct call *c, const struct json *pod);
/* The pod passed the check and is stored next: its account goes to its node if it is nobody's yet. */
void account_owner_note(struct call *c, const struct json *pod);
/* A policy that is stored next lets in an account that every node may run: said as a warning. */
void account_owner_warn(struct call *c, const struct json *policy);
