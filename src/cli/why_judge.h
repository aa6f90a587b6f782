/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One verdict out of what a node proxy (obs/why.h) and a waypoint (obs/l7_why.h) have said about a
 * question, with its evidence and one command that helps. Pure.
 */
#pragma once

#include "base/str.h"
#include "cli/finding.h"

struct json;

enum why_verdict { WHY_ALLOWED, WHY_DENIED, WHY_PARTLY, WHY_UNKNOWN };

struct why_case {
    const struct json *l4;
    const struct json *l7;  /* NULL: no waypoint was asked */
    const char *l7_trouble; /* why the waypoint could not be asked; NULL or "": nothing is known */
    /* Where the answers are from, if not from the programs themselves; NULL or "": they are. */
    const char *l4_source;
    const char *l7_source;
    bool asks_l7; /* the question names a method, a path or a header */
};

struct why_result {
    enum why_verdict verdict;
    struct strbuf text;  /* "DENIED at layer 4: ..." */
    struct strbuf by;    /* "shop/allow-web"; empty: nobody in particular */
    struct strbuf fix;   /* a command; empty: none needed */
    struct strbuf notes; /* sentences, a line each */
};

/* End it with why_result_fini. */
void why_judge(const struct why_case *q, struct why_result *out);
void why_result_fini(struct why_result *r);
enum answer why_answer_of(enum why_verdict v);
const char *why_verdict_name(enum why_verdict v); /* "ALLOWED", ... */
/* From whom, through what, to whom, and what was looked at; lines of two columns. */
void why_evidence(const struct why_case *q, struct strbuf *out);
