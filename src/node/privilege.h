/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rights the agent keeps. For itself: SYS_ADMIN (enter and make namespaces, mount), NET_ADMIN
 * (rules, links, marks), NET_RAW (the probe of the capture), SYS_PTRACE (open the namespace of a
 * process of another user), KILL (end what a local workload leaves behind), and for the start of its
 * commands SETUID, SETGID and SETPCAP. What else a command that was asked to run as root usually needs
 * stays possible for it, but not usable by the agent; everything else is gone for good.
 */
#pragma once

#include "base/err.h"

/* Before any thread starts. Rights that the process does not have are not missed here but where they
 * are needed. */
MUST_USE int privilege_drop(struct diag *why);
