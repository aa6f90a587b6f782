/* SPDX-License-Identifier: Apache-2.0 */
#include "base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { ERRNO_LAST = 255 };

static const struct {
    const char *name;
    const char *text;
    enum err_class class;
} own[] = {
#define ERR_ROW(name_, text_, class_) {.name = #name_, .text = (text_), .class = (class_)},
    ERR_TABLE(ERR_ROW)
#undef ERR_ROW
};

static bool is_own(int r)
{
    return r < -ERR_FIRST && r > -ERR_END;
}

const char *err_text(int r)
{
    if (r >= 0) {
        return "ok";
    }
    if (is_own(r)) {
        return own[-r - ERR_FIRST - 1].text;
    }
    const char *text = strerrordesc_np(-r);
    return text ? text : "unknown error";
}

const char *err_name(int r)
{
    if (r >= 0) {
        return "OK";
    }
    if (is_own(r)) {
        return own[-r - ERR_FIRST - 1].name;
    }
    const char *name = strerrorname_np(-r);
    return name ? name : "EUNKNOWN";
}

int err_of_name(const char *name)
{
    for (int code = 1; code < ERR_END; code++) {
        if (strcmp(err_name(-code), name) == 0) {
            return -code;
        }
        code = code == ERRNO_LAST ? ERR_FIRST : code;
    }
    return -EIO;
}

enum err_class err_class(int r)
{
    if (is_own(r)) {
        return own[-r - ERR_FIRST - 1].class;
    }
    switch (-r) {
    case ECONNRESET:
    case EPIPE:
        return ERRC_BENIGN;
    case ECONNREFUSED:
    case EHOSTUNREACH:
    case ENETUNREACH:
    case ETIMEDOUT:
        return ERRC_PEER;
    default:
        return ERRC_LOCAL;
    }
}

const char *err_class_name(enum err_class class)
{
    static const char *const names[ERR_CLASSES] = {[ERRC_LOCAL] = "local",
                                                   [ERRC_PEER] = "peer",
                                                   [ERRC_POLICY] = "policy",
                                                   [ERRC_BENIGN] = "benign"};

    return names[class];
}

int diag_note(struct diag *d, int code, const char *fmt, ...)
{
    if (d) {
        va_list ap;
        d->code = code;
        va_start(ap, fmt);
        (void)vsnprintf(d->text, sizeof(d->text), fmt, ap); /* cut on purpose */
        va_end(ap);
    }
    return code;
}
