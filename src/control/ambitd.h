/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control plane as one object: builds everything on the control loop, connects it, runs it until
 * the process is to end, and takes it down again in order.
 */
#pragma once

#include "base/err.h"
#include "control/settings.h"

struct ambitd;

/* settings is borrowed. Signals TERM and INT must be blocked in every thread. */
MUST_USE int ambitd_new_blocking(struct ambitd **out, const struct settings *settings,
                                 struct diag *why);
void ambitd_free(struct ambitd *a);
AUTO_DEFINE(ambitd, struct ambitd *, ambitd_free);
/* Runs until the process is to end: its exit status. */
int ambitd_run(struct ambitd *a);
