/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Expressions and subjects: "pattern\0subject". Nothing may take long; what is accepted must hold no
 * escape that looks back; grouping an accepted pattern changes no answer; and a quoted text matches
 * itself alone.
 */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "model/l7_regex.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int ask(const char *pattern, struct slice subject)
{
    AUTO(l7_regex) const struct l7_regex *x = NULL;

    return l7_regex_new(&x, pattern, NULL) < 0 ? -ERR_SYNTAX : l7_regex_match(x, subject);
}

static void try_pattern(const char *pattern, struct slice subject)
{
    AUTO(strbuf) struct strbuf grouped = {0};
    int got = ask(pattern, subject);

    if (got == -ERR_SYNTAX || strstr(pattern, "\\Q")) {
        return; /* an open quotation would take the group's end with it */
    }
    strbuf_printf(&grouped, "(?:%s)", pattern);
    int again = ask(strbuf_text(&grouped), subject);
    assert(got < 0 || again < 0 || got == again);
}

static void try_quoted(const char *text)
{
    AUTO(strbuf) struct strbuf quoted = {0};
    AUTO(l7_regex) const struct l7_regex *x = NULL;

    if (strstr(text, "\\E") || strlen(text) > 900) {
        return;
    }
    strbuf_printf(&quoted, "\\Q%s\\E", text);
    if (strlen(text) > 0 && text[strlen(text) - 1] == '\\') {
        return; /* with the 'E' behind it, it ends the quotation itself */
    }
    for (const char *c = text; *c; c++) {
        if ((unsigned char)*c >= 0x80) {
            return; /* patterns are UTF-8 */
        }
    }
    assert(l7_regex_new(&x, strbuf_text(&quoted), NULL) == 0);
    assert(l7_regex_match(x, slice_of(text)) == 1);
    strbuf_puts(&quoted, "x");
    assert(l7_regex_match(x, (struct slice){strbuf_text(&quoted), quoted.len}) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    AUTO(strbuf) struct strbuf pattern = {0};
    const uint8_t *end = size > 0 ? memchr(data, 0, size) : NULL;
    size_t len = end ? (size_t)(end - data) : size;

    strbuf_add(&pattern, data, len);
    struct slice subject = {"", 0};
    if (end) {
        subject = (struct slice){(const char *)end + 1, size - len - 1};
    }
    try_pattern(strbuf_text(&pattern), subject);
    try_quoted(strbuf_text(&pattern));
    return 0;
}
