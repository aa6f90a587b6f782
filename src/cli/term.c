/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/term.h"

#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "io/file.h"

static const char *const codes[] = {
    [STYLE_PLAIN] = "",        [STYLE_BOLD] = "\033[1m",  [STYLE_DIM] = "\033[2m",
    [STYLE_GOOD] = "\033[32m", [STYLE_WARN] = "\033[33m", [STYLE_BAD] = "\033[31m",
};

void term_init(struct term *t, bool plain)
{
    const char *no_colour = getenv("NO_COLOR");
    bool colour = !plain && (!no_colour || !*no_colour);

    *t = (struct term){.out_fd = STDOUT_FILENO,
                       .err_fd = STDERR_FILENO,
                       .out_colour = colour && isatty(STDOUT_FILENO),
                       .err_live = isatty(STDERR_FILENO) == 1};
}

void term_out(struct term *t, const struct strbuf *text)
{
    int r = text->overflow ? -ERR_TOO_LARGE : fd_write_all_blocking(t->out_fd, text->p, text->len);

    if (r < 0 && t->failure == 0) {
        t->failure = r;
    }
}

void term_err(struct term *t, const struct strbuf *text)
{
    (void)fd_write_all_blocking(t->err_fd, text->p, text->len); /* there is nobody left to tell */
}

void style_put(struct strbuf *out, bool colour, enum style s, const char *text)
{
    if (!colour || s == STYLE_PLAIN) {
        strbuf_puts(out, text);
        return;
    }
    strbuf_printf(out, "%s%s\033[0m", codes[s], text);
}

/* ---- progress */

void progress_begin(struct progress *p, struct term *t, const char *what)
{
    *p = (struct progress){.term = t, .what = what, .since_ms = clock_mono_ms()};
}

uint64_t progress_ms(const struct progress *p)
{
    return clock_mono_ms() - p->since_ms;
}

void progress_tick(struct progress *p)
{
    AUTO(strbuf) struct strbuf b = {0};
    uint64_t s = progress_ms(p) / 1000;

    if (s == p->shown_s || (p->shown_s > 0 && !p->term->err_live)) {
        return;
    }
    if (p->term->err_live) {
        strbuf_printf(&b, "\r\033[K%s ... %llu s", p->what, (unsigned long long)s);
    } else {
        strbuf_printf(&b, "%s ...\n", p->what);
    }
    p->shown_s = s;
    term_err(p->term, &b);
}

void progress_end(struct progress *p)
{
    AUTO(strbuf) struct strbuf b = {0};

    if (p->shown_s > 0 && p->term->err_live) {
        strbuf_puts(&b, "\r\033[K");
        term_err(p->term, &b);
    }
    p->shown_s = 0;
}
