/* SPDX-License-Identifier: Apache-2.0 */
/* Network namespaces without names, for tests: gone with their last reference. */
#pragma once

#include "io/netns.h"

/* A fresh namespace with its loopback up. Exits where the process may not make one: a test does not
 * pass for want of privilege. */
struct netns *test_netns_new(void);
/* Runs a program (looked up in PATH) inside it; its exit status. */
int test_netns_run(struct netns *n, const char *const argv[]);
