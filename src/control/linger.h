/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A service that leaves its waypoint stays known there for a moment, with its routes and policies: node
 * proxies may not have heard yet, and what they still send is to be served as before. So do the policies of a
 * gateway that is gone: by these, too, is judged what lingers there.
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
/* It is gone: takes what its own shelf holds, for as long as any service's may linger. Nothing begins to linger
 * there after this. */
void linger_begin_gateway(struct index *x, struct gateway_item *g);
/* It is there again: its shelf, empty since, gets that back. */
void linger_end_gateway(struct index *x, struct gateway_item *g);
/* Removes what is due at now_ms. */
void linger_expire(struct index *x, uint64_t now_ms);
/* At the end: frees without removing. */
void linger_drop(struct index *x);
