/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What holds for a mesh from `ambit up` to `ambit down`: its node, places and addresses. A later `up`
 * that is told nothing of them takes what the first one was told; one that is told something else is
 * refused, for programs that run already would not know of it. Pure.
 */
#pragma once

#include "base/err.h"
#include "base/str.h"
#include "cli/args.h"

struct json;

/* The caller's: {"node", "data", "logDir", "listen", "apiListen", "podRanges", "serviceRanges",
 * "trustDomain"}: of each what was given, else what it was before (NULL: nothing is up), else what it is
 * without a word. */
struct json *up_settings_make(const struct args *a, const struct json *before);
/* -ERR_SYNTAX: a program would not take one of them, or the mesh would not work with it. */
MUST_USE int up_settings_check(const struct json *settings, struct diag *why);
/* Is one of those that were given another one than before? Then a sentence says which. */
bool up_settings_clash(const struct args *a, const struct json *before, struct strbuf *out);
/* Those of from, into the object that is kept in a file. */
void up_settings_keep(struct json *state, const struct json *from);
