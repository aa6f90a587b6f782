/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Finds the network namespace of a running pod among the processes of the node: by the pod's uid in a
 * process's control group, and only if one of the pod's addresses is configured inside, since a
 * foreign process may sit in a pod's namespace. Blocking: about 8 us a process.
 */
#pragma once

#include <stdbool.h>

#include "base/err.h"
#include "base/str.h"
#include "node/pod.h"

/* A descriptor, the caller's; the oldest process decides. -ERR_NOT_FOUND. proc is "/proc". */
MUST_USE int pod_netns_find_blocking(const char *proc, const struct pod *pod, int *out_fd,
                                     struct diag *why);

/* Pure: does this line of /proc/PID/cgroup ("id:controllers:path") belong to the pod? Runtimes write
 * the uid with any punctuation between its parts, behind "pod". The first that names a pod counts:
 * groups below are that pod's own to make, and to name after others. */
bool pod_netns_is_cgroup_of(struct slice line, const char *uid);
