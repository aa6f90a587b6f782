/* SPDX-License-Identifier: Apache-2.0 */
/* /proc/sys/net of the namespace that the calling thread is in. key: "ipv4/tcp_fwmark_accept". */
#pragma once

#include <stdbool.h>

#include "base/err.h"

MUST_USE int sysctl_set_blocking(const char *key, const char *value, struct diag *why);
/* 0 and no such key are both false. */
bool sysctl_is_set_blocking(const char *key);
