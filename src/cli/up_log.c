/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/up_log.h"

#include <string.h>

static const char key[] = "error=\"";
static const char taken[] = "code=EADDRINUSE";

static const char *last_error(const char *text)
{
    const char *found = NULL;

    for (const char *p = text; (p = strstr(p, key)) != NULL; p += strlen(key)) {
        found = p + strlen(key);
    }
    return found;
}

/* Who has the port that reason ends or goes on with: "bind to 127.0.0.1:15000". */
static void put_taken_fix(const char *reason, struct strbuf *fix)
{
    static const char digits[] = "0123456789";

    for (const char *p = reason; (p = strchr(p, ':')) != NULL; p++) {
        size_t n = strspn(p + 1, digits);
        if (n > 0 && (p[1 + n] == '\0' || p[1 + n] == ':')) {
            strbuf_printf(fix, "ss -ltnp 'sport = :%.*s'", (int)n, p + 1);
            return;
        }
    }
}

bool up_log_reason(const char *text, struct strbuf *reason, struct strbuf *fix)
{
    const char *p = last_error(text);

    for (; p && *p && *p != '"' && *p != '\n'; p++) {
        p += *p == '\\' && p[1] != '\0' && p[1] != '\n';
        strbuf_putc(reason, *p);
    }
    if (reason->len == 0) {
        return false;
    }
    if (strncmp(p + strcspn(p, "c\n"), taken, strlen(taken)) == 0) {
        put_taken_fix(strbuf_text(reason), fix);
        if (!strstr(strbuf_text(reason), "in use")) {
            strbuf_puts(reason, ": Address already in use");
        }
    }
    return true;
}
