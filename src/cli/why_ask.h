/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whom a question of `why` and `can` is put to: the node proxies and the waypoint themselves, else,
 * where they cannot be reached, their configuration as the control plane publishes it, judged with the
 * functions that they judge with. Blocks until a deadline.
 */
#pragma once

#include "base/err.h"
#include "base/str.h"

struct cli;
struct json;

struct why_asked {
    struct json *l4;          /* obs/why.h; NULL: nobody answered */
    struct json *l7;          /* obs/l7_why.h; NULL: none is on the way, or it could not be asked */
    struct strbuf l4_trouble; /* why nobody answered */
    struct strbuf l7_trouble; /* empty: it was asked, or none is on the way */
    int l7_code;              /* the first reason, as an error; 0: none */
    /* "as the control plane publishes it; ...": empty where the programs themselves have answered. */
    struct strbuf l4_source;
    struct strbuf l7_source;
};

/* request is what request_words_blocking made. <0: nobody could be asked (-ERR_SYNTAX: an option is
 * wrong); *out is to be ended all the same. An answer may be {"error": ...}: the question makes no
 * sense, or there is no such thing. */
MUST_USE int why_ask_blocking(struct cli *c, const char *request, struct why_asked *out);
/* TO[:PORT]. -ERR_SYNTAX: what looks like its port is none. Pure. */
MUST_USE int why_check_target(const char *word, struct diag *why);
void why_asked_fini(struct why_asked *a);
