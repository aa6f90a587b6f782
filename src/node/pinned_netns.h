/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A network namespace that lives without a process in it, because a mount on a path holds it. On job
 * threads: making one moves the calling thread there and back.
 */
#pragma once

#include "base/err.h"

/* A new namespace with lo up. path is made; its folder exists. */
MUST_USE int pinned_netns_make_blocking(const char *path, struct diag *why);
/* Takes the mount and the file away; the namespace goes with its last user. Fine if it is not there. */
MUST_USE int pinned_netns_unmake_blocking(const char *path, struct diag *why);
