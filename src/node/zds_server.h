/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The agent's end of ZDS: tells node proxies which pods are theirs (contract 7). Several proxies may
 * be connected, while one generation takes over from another: each gets the whole membership when it
 * says hello, later additions go to the newest, removals to all. One request is under way on a
 * connection at a time; a proxy that does not answer in time is disconnected, since a late answer
 * would be taken for the next one's.
 *
 * Lives on one loop. A member belongs to whoever made it and wakes that task with WAKE_CHILD when its
 * standing changes.
 */
#pragma once

#include <stdbool.h>

#include "base/err.h"
#include "io/task.h"
#include "node/zds_msg.h"

enum { ZDS_ANSWER_MS = 5000, ZDS_ACCEPTS_PER_S = 5, ZDS_PROXIES_MAX = 8, ZDS_MEMBERS_MAX = 1024 };

struct zds_server;
struct zds_member;

void zds_server_free(struct zds_server *s); /* after its members */
/* Binds path (0600; a stale socket there is replaced) and lets proxies wait until zds_server_open.
 * owner is woken with WAKE_CHILD when proxies come and go. */
MUST_USE int zds_server_new(struct loop *l, const char *path, struct task *owner,
                            struct zds_server **out, struct diag *why);
AUTO_DEFINE(zds_server, struct zds_server *, zds_server_free);

/* The members are complete: whoever is not among them may be forgotten by the proxies. */
void zds_server_open(struct zds_server *s);
/* Proxies that have said hello. */
unsigned zds_server_proxies(const struct zds_server *s);

enum zds_standing {
    ZDS_WAITING, /* no proxy has answered yet */
    ZDS_SERVED,  /* a proxy has acknowledged it */
    ZDS_REFUSED, /* the newest proxy could not: see zds_member_refusal */
    ZDS_LEAVING, /* removal is under way */
    ZDS_LEFT     /* every connected proxy has answered the removal */
};

/* netns is duplicated; -1 if it is not known yet: then proxies are told to keep what they have.
 * NULL when there are ZDS_MEMBERS_MAX. */
struct zds_member *zds_member_new(struct zds_server *s, const struct zds_workload *w, int netns,
                                  struct task *owner);
/* Proxies are not told: after ZDS_LEFT, or when the agent stops. */
void zds_member_free(struct zds_member *m);
AUTO_DEFINE(zds_member, struct zds_member *, zds_member_free);

enum zds_standing zds_member_standing(const struct zds_member *m);
const char *zds_member_refusal(const struct zds_member *m);
/* The namespace is known now, or a refusal may have lost its reason: adds it again. -1 keeps the
 * namespace that is known. */
MUST_USE int zds_member_add(struct zds_member *m, int netns);
void zds_member_leave(struct zds_member *m);
