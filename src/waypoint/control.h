/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control loop of a waypoint: discovery, its certificate, the listeners, admin endpoints, signals.
 * Builds everything, connects it, and takes it down again in order. Data flows on the engines.
 */
#pragma once

#include "io/loop.h"
#include "waypoint/config.h"

struct control;

/* config is borrowed. Signals TERM and INT must be blocked in every thread. */
MUST_USE int control_new(struct control **out, const struct config *config, struct diag *why);
void control_free(struct control *c);
AUTO_DEFINE(control, struct control *, control_free);
/* Runs until the process is to end: its exit status. */
int control_run(struct control *c);
