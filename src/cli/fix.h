/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Commands that are printed to be pasted: words quoted for a shell, and what this command was told
 * of where the mesh is carried over into the command that helps. Pure.
 */
#pragma once

#include "base/str.h"

struct cli;

/* In quotes where a shell would make something else of it. */
void fix_put_word(const char *word, struct strbuf *out);
/* This very command again, with more ("--overwrite"; "" = nothing) as its first option, by root if sudo. */
void fix_again(const struct cli *c, bool sudo, const char *more, struct strbuf *out);
/* fix ("ambit get pods -A"), with the options by which this command was told where API and nodes are, as far as
 * the other one takes them and fix does not have them. */
void fix_here(const struct cli *c, const char *fix, struct strbuf *out);
