/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A pool of strings and identities that many workloads share: cluster, namespace, node, owner
 * names. Belongs to one thread, the one that builds workloads and services; what it hands out is
 * counted across threads and may outlive the pool.
 */
#pragma once

#include <stddef.h>

#include "model/identity.h"

struct intern;

struct intern *intern_new(void);
void intern_free(struct intern *pool);
AUTO_DEFINE(intern, struct intern *, intern_free);

/* The shared copy of s ("" for NULL), with one reference for the caller: end it with text_unref.
 * Equal strings from one pool are one pointer. */
const char *intern_text(struct intern *pool, const char *s);
const char *text_ref(const char *interned);
/* Only for what intern_text returned. Returns NULL; accepts NULL. */
const char *text_unref(const char *interned);

/* One reference for the caller. */
const struct identity *intern_identity(struct intern *pool, const char *trust_domain,
                                       const char *ns, const char *service_account);
/* The pool's equal of id, counted for the caller. */
const struct identity *intern_same(struct intern *pool, const struct identity *id);

/* Drops what nobody but the pool holds. Runs by itself when the pool has doubled since last
 * time. */
void intern_sweep(struct intern *pool);
size_t intern_count(const struct intern *pool);
