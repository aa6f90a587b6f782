/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The two ways a command speaks: what was asked for goes to standard output, everything about how it
 * is going to standard error. Colour only towards a terminal, and never as the only sign. One thread.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"

enum style { STYLE_PLAIN, STYLE_BOLD, STYLE_DIM, STYLE_GOOD, STYLE_WARN, STYLE_BAD };

struct term {
    int out_fd;
    int err_fd;
    bool out_colour;
    bool err_live; /* standard error is a terminal: a line may be written again */
    int failure;   /* 0, or why standard output did not take all: what was said is not complete */
};

/* Descriptors 1 and 2. plain: no colour whatever they are; so does NO_COLOR in the environment. */
void term_init(struct term *t, bool plain);
void term_out(struct term *t, const struct strbuf *text);
void term_err(struct term *t, const struct strbuf *text);

/* text between the codes of its style. */
void style_put(struct strbuf *out, bool colour, enum style s, const char *text);

/* Something that takes time. Nothing is shown for the first second; then, on a terminal, a line with
 * the seconds, elsewhere one line at the start of the wait. */
struct progress {
    struct term *term;
    const char *what; /* borrowed */
    uint64_t since_ms;
    uint64_t shown_s; /* 0 = not shown yet */
};
void progress_begin(struct progress *p, struct term *t, const char *what);
/* Call it every now and then. */
void progress_tick(struct progress *p);
/* Takes a line that is written again off the terminal. */
void progress_end(struct progress *p);
uint64_t progress_ms(const struct progress *p); /* since it began */
