/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The conversation with the node agent (contract 7): a SOCK_SEQPACKET socket on which the agent names
 * the pods and passes their network namespaces. Strict alternation: one request, one answer. Losing
 * the agent costs no connection; the proxies run on and the next snapshot reconciles.
 */
#pragma once

#include "io/loop.h"
#include "ztunnel/pods.h"

struct zds_client;

/* path is copied. owner is woken with WAKE_CHILD when the state changes. */
struct zds_client *zds_client_new(struct loop *l, const char *path, struct pods *pods,
                                  struct task *owner);
void zds_client_free(struct zds_client *z);
AUTO_DEFINE(zds_client, struct zds_client *, zds_client_free);

/* A snapshot was received on the connection that is open now. */
bool zds_client_is_synced(const struct zds_client *z);
/* Passes on pods' progress: to be called when pods woke the owner. */
void zds_client_poke(struct zds_client *z);
/* The agent broke the protocol: the process is to end with status 1 (contract 7.4). */
bool zds_client_is_broken(const struct zds_client *z);
/* No more requests are taken; the connection is closed. */
void zds_client_stop(struct zds_client *z);
