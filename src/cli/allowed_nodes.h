/* SPDX-License-Identifier: Apache-2.0 */
/* Which nodes may run a service account's pods (apiserver/account_owner.h), and one more. Pure. */
#pragma once

struct json;

/* The annotation's value with which node may, too: the caller's. NULL: it may already. namespace is the
 * account's, pods are those of that namespace. */
char *allowed_nodes_with(const struct json *account, const struct json *namespace,
                         const struct json *pods, const char *node);
