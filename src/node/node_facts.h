/* SPDX-License-Identifier: Apache-2.0 */
/* What there is to say of this machine in the status of its Node object: addresses, system, size. */
#pragma once

struct json;

/* {addresses, nodeInfo, capacity, allocatable}, the caller's. server: URL of the API server; the
 * machine's address is the one from which it is reached, or if that is on this machine itself the one
 * with which it goes out of the network it is in. Reads files; nothing is sent. */
struct json *node_facts_blocking(const char *server);
