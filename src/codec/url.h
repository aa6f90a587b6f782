/* SPDX-License-Identifier: Apache-2.0 */
/* Parts of URLs: percent coding (RFC 3986 2.1) and query strings. Names, not requests: resolving
 * and fetching are done elsewhere. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "base/str.h"

enum url_decode { URL_PATH = 0, URL_FORM = 1 }; /* URL_FORM: '+' is a blank */

/* Appends. -ERR_SYNTAX: a broken escape, or one that makes a NUL byte. */
MUST_USE int url_decode(struct strbuf *out, struct slice text, enum url_decode how);
/* Appends; everything but letters, digits and "-._~" is escaped, '/' too. */
void url_encode(struct strbuf *out, struct slice text);

/* What stands before and behind the first '?'; a fragment is cut off. */
void url_split(struct slice target, struct slice *path, struct slice *query);

/* One "key=value" after the other, still encoded; false at the end. Empty pieces are skipped, a
 * piece without '=' has an empty value. */
bool url_query_next(struct slice *rest, struct slice *key, struct slice *value);
/* Appends the decoded value of the first parameter of that name. 1: found; 0: not there;
 * -ERR_SYNTAX. */
MUST_USE int url_query_get(struct slice query, const char *name, struct strbuf *out);
/* Appends "name=value", behind a '&' where out does not end in '?' or is empty. */
void url_query_add(struct strbuf *out, const char *name, const char *value);

/* scheme://host[:port][/path]: for configured addresses. Nothing is decoded; brackets of an IPv6
 * host are taken off; port 0 where none is given. Userinfo, query and fragment are refused. */
struct url {
    struct slice scheme;
    struct slice host;
    struct slice path; /* with its '/', or empty */
    unsigned port;
};
MUST_USE int url_parse(struct url *out, const char *text, size_t len, struct diag *why);
