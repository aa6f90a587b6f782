/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A service that leaves its waypoint stays known there for a moment, with its routes and policies: node
 * proxies may not have heard yet, and what they still send is to be served as before.
 */
#pragma once

#include <stdint.h>

#include "control/shelf.h"

struct gateway_item;
struct index;
struct service_item;

/* By a clock that is looked at once a second: three seconds at least. A waypoint that has heard sends its
 * connections away in little more than one. */
enum { LINGER_MS = 4000 };

/* Takes what the service's shelf holds for that waypoint. */
void linger_begin(struct index *x, struct service_item *s, const struct gateway_item *from);
/* It has this waypoint, perhaps again: what is not on its shelf now goes there. */
void linger_end(struct index *x, const struct service_item *s, const struct gateway_item *at);
/* Removes what is due at now_ms. */
void linger_expire(struct index *x, uint64_t now_ms);
/* At the end: frees without removing. */
void linger_drop(struct index *x);
