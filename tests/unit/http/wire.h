/* SPDX-License-Identifier: Apache-2.0 */
/* A peer made of raw bytes: sends a script in pieces, keeps what comes back. */
#pragma once

#include "base/bytes.h"
#include "io/loop.h"
#include "io/stream.h"

struct wire {
    struct task task;
    struct stream *s;
    const char *script; /* NULL: nothing more to send */
    size_t len;
    size_t sent;
    size_t piece;        /* bytes a write; 0 = all */
    size_t read_at_most; /* 0 = everything */
    bool shut_after;     /* ends its half behind the script */
    bool shut;
    bool ended;  /* the other side ended in order */
    int failure; /* or this */
    struct bytes got;
};

void wire_start(struct wire *w, struct loop *l, struct stream *take_s, const char *script,
                size_t len);
void wire_send(struct wire *w, const char *script, size_t len); /* after the first script is out */
void wire_stop(struct wire *w, int why);
/* What came back, zero-terminated. */
const char *wire_text(struct wire *w);
bool wire_has(struct wire *w, const char *text);
unsigned wire_count(struct wire *w, const char *text);

/* Turns until nothing is left to do; false: it never settles. */
bool settle(struct loop *l);
