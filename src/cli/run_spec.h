/* SPDX-License-Identifier: Apache-2.0 */
/* What `ambit run` asks of the node agent, out of its options. Pure. */
#pragma once

#include <stdbool.h>

#include "base/err.h"
#include "base/str.h"
#include "cli/args.h"

struct json;

extern const struct arg_option options_run_spec[];

/* {"op": "run", "attach": ..., "spec": {...}}; the caller's. -ERR_SYNTAX with a sentence. */
MUST_USE int run_spec_make(const struct args *a, bool attach, struct json **out, struct diag *why);
/* Where error says that namespace ns is not there, the command that makes it: true. */
bool run_spec_namespace_fix(const char *ns, const char *error, struct strbuf *out);
/* What the agent said, in few words, and the one command that helps, if there is one: true. */
bool run_spec_fix(const struct args *a, const char *error, struct strbuf *said, struct strbuf *fix);
