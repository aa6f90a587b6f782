/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The node's own rules for health probes: what a process of the node itself sends to an enrolled pod
 * gets the probes' source address, by which the pod's rules let it through; and nobody else may send
 * from that address, neither through the node's routes nor over a bridge of it. They belong together:
 * without the guard the exemption would be a way past every policy. Act on the namespace the calling
 * thread is in (the node's). Blocking: job threads, or program start.
 */
#pragma once

#include "base/err.h"
#include "base/ip.h"

#define HOST_RULES_TABLE "ambit_host"

/* Rules without pods; what is there already stays, with its pods. A kernel that cannot filter what
 * passes a bridge is refused. */
MUST_USE int host_rules_ensure_blocking(struct diag *why);
MUST_USE int host_rules_remove_blocking(struct diag *why);

/* One pod comes, or changes its owner; one goes. Missing elements are fine. */
MUST_USE int host_rules_put_blocking(const struct ip *ip, const char *uid, struct diag *why);
MUST_USE int host_rules_drop_blocking(const struct ip *ip, struct diag *why);
