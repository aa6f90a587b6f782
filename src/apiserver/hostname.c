/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The patterns of the Gateway API's CustomResourceDefinitions, for at most 253 bytes:
 * labels of a-z, 0-9 and '-' with neither end a '-', joined by dots; before them "*." where that is
 * allowed. Addresses of IPv4 are such names.
 */
#include "apiserver/hostname.h"

#include <string.h>

#include "codec/name.h"

enum { HOSTNAME_MAX = 253 };

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
    if (strpbrk(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZ")) {
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
    return name_problem(NAME_SUBDOMAIN, name + (is_wildcard ? 2 : 0))
               ? reason(name, may_be_wildcard)
               : NULL;
}
