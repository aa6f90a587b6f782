/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The patterns of the Gateway API's CustomResourceDefinitions, for at most 253 bytes:
 * labels of a-z, 0-9 and '-' with neither end a '-', joined by dots; before them "*." where that is
 * allowed. Addresses of IPv4 are such names.
 */
#include "apiserver/hostname.h"

#include <string.h>

enum { HOSTNAME_MAX = 253 };

#define LETTERS  "abcdefghijklmnopqrstuvwxyz"
#define CAPITALS "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define DIGITS   "0123456789"

/* Of one label; its end in *end. */
static bool is_label(const char *s, const char **end)
{
    size_t n = strspn(s, LETTERS DIGITS "-");

    *end = s + n;
    return n > 0 && s[0] != '-' && s[n - 1] != '-';
}

static bool is_name(const char *s)
{
    bool good = is_label(s, &s);

    while (good && *s == '.') {
        good = is_label(s + 1, &s);
    }
    return good && *s == '\0';
}

static const char *reason(const char *name, bool may_be_wildcard)
{
    if (name[0] == '\0') {
        return "must not be empty: leave it out, or give a name such as shop.example";
    }
    if (may_be_wildcard && strcmp(name, "*") == 0) {
        return "must be a name: leave it out to match every host, or write *.shop.example";
    }
    if (strchr(name, '/')) {
        return "must be the name alone, without a scheme or a path";
    }
    if (strchr(name, ':')) {
        return "must be the name alone, without a port";
    }
    if (strchr(name, '*')) {
        return may_be_wildcard ? "a wildcard must be the whole first label, as in *.shop.example"
                               : "must be one name: a wildcard is not allowed here";
    }
    if (strpbrk(name, CAPITALS)) {
        return "must be in lower case";
    }
    return "must be labels of a-z, 0-9 and '-' (not at either end) joined by dots, as in "
           "shop.example";
}

const char *hostname_problem(const char *name, bool may_be_wildcard)
{
    bool is_wildcard = may_be_wildcard && strncmp(name, "*.", 2) == 0;

    if (strlen(name) > HOSTNAME_MAX) {
        return "must be no longer than 253 bytes";
    }
    return is_name(name + (is_wildcard ? 2 : 0)) ? NULL : reason(name, may_be_wildcard);
}
