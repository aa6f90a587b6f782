/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keeps the index told: watches every kind it knows, puts what comes into it in portions, settles it,
 * and says when a catalog has changed. The only way in for the state of the cluster. The control loop.
 */
#pragma once

#include "base/str.h"
#include "control/index.h"
#include "io/loop.h"

struct ads_server;
struct kube_client;

enum {
    FEED_EVENTS = 256, /* of one kind in one run */
    FEED_HEAR_MS = 50  /* between looks at what node proxies have acknowledged */
};

struct feed;

/* Everything is borrowed and outlives it. owner is woken with WAKE_CHILD when it is synced. */
struct feed *feed_new(struct loop *l, struct kube_client *client, struct index *index,
                      struct ads_server *ads, struct task *owner);
void feed_free(struct feed *f);
AUTO_DEFINE(feed, struct feed *, feed_free);

/* Every kind was listed once and translated: from now on the catalogs can be believed. A kind counts as
 * listed that the server has confirmed not to have (kube_watch.h). Never becomes false again. */
bool feed_is_synced(const struct feed *f);
/* That kind is still missing for it. */
bool feed_waits_for(const struct feed *f, enum index_kind kind);
const char *feed_kind(enum index_kind kind); /* "pods" */
/* "pods: connection refused; ...": kinds that nothing comes of, empty when all is well. */
void feed_write_trouble(const struct feed *f, struct strbuf *out);
