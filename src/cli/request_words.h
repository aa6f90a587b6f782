/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The request that a question to a waypoint is about, out of a command's options. What is secret comes
 * from files alone: everybody on the machine can read command lines.
 */
#pragma once

#include "base/err.h"
#include "base/str.h"
#include "cli/args.h"

/* --method, --path, --header, --host, --token */
extern const struct arg_option options_request[];

/* Is anything said of the request? */
bool request_words_any(const struct args *a);
/* Appends it as obs/l7_why.h asks for it. Reads files and, for "-", standard input, so it may block.
 * -ERR_SYNTAX and others: which option is wrong, and what would be right. */
MUST_USE int request_words_blocking(const struct args *a, struct strbuf *query, struct diag *why);
