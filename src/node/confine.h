/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keeps a process, and whatever it starts, off the processes of others that have its user: nobody may
 * take another workload's identity by writing into its memory. By Landlock: who is in a domain traces
 * only who is in it too, and where the kernel can (ABI 6) signals nobody else. Nothing else is
 * restricted, except that kernels before ABI 6 forbid mounts inside.
 */
#pragma once

#include "base/err.h"

/* Of this thread; no new privileges must have been forbidden before. 0 also where the kernel has no
 * Landlock (before 5.19, or not enabled). */
MUST_USE int confine(struct diag *why);
