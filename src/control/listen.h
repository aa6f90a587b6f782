/* SPDX-License-Identifier: Apache-2.0 */
/* Listening sockets from texts of the configuration. */
#pragma once

#include "base/err.h"
#include "base/ip.h"

/* flag names the setting in messages. *out_fd is the caller's; *out_at is what it really is, the port
 * too where the text has 0. "[::]" takes IPv4 as well; where the host has no IPv6 it is "0.0.0.0". */
MUST_USE int listen_at(const char *flag, const char *text, int *out_fd, struct endpoint *out_at,
                       struct diag *why);
