/* SPDX-License-Identifier: Apache-2.0 */
/* The whole of ambit-agent as one object: made from options, run, freed. */
#pragma once

#include "base/err.h"
#include "node/options.h"

struct program;

void program_free(struct program *p);
/* Blocking parts of the start included: files, sockets, records of local workloads. */
MUST_USE int program_new(const struct options *o, struct program **out, struct diag *why);
AUTO_DEFINE(program, struct program *, program_free);
/* Until SIGTERM or SIGINT. What is captured stays captured, what runs goes on: the next agent takes
 * over. */
void program_run(struct program *p);
