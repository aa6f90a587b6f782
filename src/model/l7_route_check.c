/* SPDX-License-Identifier: Apache-2.0 */
/* Each refusal names the field as proto/waypoint.proto does. What a control plane has to answer with
 * an error status (a missing backend, say) comes as `invalid` and is no refusal. */
#include <stdio.h>
#include <string.h>

#include "base/ascii.h"
#include "base/str.h"
#include "model/l7_pack_int.h"
#include "model/l7_route_int.h"

/* RFC 9110 5.6.2 */
static bool is_token(const char *s)
{
    static const char more[] = "!#$%&'*+-.^_`|~";

    for (const char *c = s; *c; c++) {
        if (!ascii_is_alnum(*c) && !strchr(more, *c)) {
            return false;
        }
    }
    return *s != '\0';
}

/* TAB, and from blank up without DEL: what may stand in a field value. */
static bool is_field_value(const char *s)
{
    for (const char *c = s; *c; c++) {
        if (((unsigned char)*c < ' ' && *c != '\t') || *c == 0x7f) {
            return false;
        }
    }
    return true;
}

/* What may stand in a path that we write ourselves. */
static bool is_path_text(const char *s)
{
    for (const char *c = s; *c; c++) {
        if ((unsigned char)*c <= ' ' || *c == 0x7f || *c == '#' || *c == '?') {
            return false;
        }
    }
    return *s == '/';
}

static bool is_host_text(const char *s)
{
    for (const char *c = s; *c; c++) {
        if (!ascii_is_alnum(*c) && !strchr("-._", *c)) {
            return false;
        }
    }
    return strlen(s) <= 253;
}

static const char *text_or_empty(const char *s)
{
    return s ? s : "";
}

static int check_values(const struct l7_value_match *at, size_t count, const char *field,
                        bool is_header, struct diag *why)
{
    for (size_t i = 0; i < count; i++) {
        const char *name = text_or_empty(at[i].name);
        if (is_header ? !is_token(name) : *name == '\0') {
            return FAIL(why, -ERR_SYNTAX, "%s[%zu].name: '%.32s' is no name", field, i, name);
        }
    }
    return 0;
}

static int check_match(const struct l7_match *m, struct diag *why)
{
    const char *path = text_or_empty(m->path.value);

    if (m->path.kind != L7_PATH_REGEX && *path != '/' && (m->path.kind == L7_PATH_EXACT || *path)) {
        return FAIL(why, -ERR_SYNTAX, "path.value: '%.64s' does not begin with /", path);
    }
    if (!text_is_empty(m->method) && !is_token(m->method)) {
        return FAIL(why, -ERR_SYNTAX, "method: '%.32s' is no method", m->method);
    }
    int r = check_values(m->headers, m->header_count, "headers", true, why);
    return r < 0 ? r : check_values(m->query, m->query_count, "query", false, why);
}

static int check_headers(const struct l7_header_change *c, struct diag *why)
{
    for (size_t i = 0; i < c->set_count + c->add_count; i++) {
        const struct l7_header *h = i < c->set_count ? &c->set[i] : &c->add[i - c->set_count];
        if (!is_token(text_or_empty(h->name)) || !is_field_value(text_or_empty(h->value))) {
            return FAIL(why, -ERR_SYNTAX, "%s '%.32s': no header name, or no value for one",
                        i < c->set_count ? "set" : "add", text_or_empty(h->name));
        }
    }
    for (size_t i = 0; i < c->remove_count; i++) {
        if (!is_token(text_or_empty(c->remove[i]))) {
            return FAIL(why, -ERR_SYNTAX, "remove[%zu]: is no header name", i);
        }
    }
    return 0;
}

/* Only a prefix that is known can be swapped. */
static bool all_prefixes(const struct l7_route *r)
{
    for (size_t i = 0; i < r->match_count; i++) {
        if (r->matches[i].path.kind != L7_PATH_PREFIX) {
            return false;
        }
    }
    return true;
}

static int check_path_change(const struct l7_route *r, const struct l7_path_change *c,
                             struct diag *why)
{
    const char *value = text_or_empty(c->value);

    if (c->kind == L7_PATH_KEPT) {
        return 0;
    }
    if (c->kind == L7_PATH_PREFIX_SWAPPED && !all_prefixes(r)) {
        return FAIL(why, -ERR_SYNTAX, "path: PREFIX needs a prefix in every match");
    }
    if (!(c->kind == L7_PATH_PREFIX_SWAPPED && *value == '\0') && !is_path_text(value)) {
        return FAIL(why, -ERR_SYNTAX, "path.value: '%.64s' is no path", value);
    }
    return 0;
}

static int check_redirect(const struct l7_route *r, const struct l7_redirect *d, struct diag *why)
{
    static const uint16_t codes[] = {0, 301, 302, 303, 307, 308};
    const char *scheme = text_or_empty(d->scheme);
    bool known = false;

    for (size_t i = 0; i < ARRAY_LEN(codes); i++) {
        known = known || d->status == codes[i];
    }
    if (!known) {
        return FAIL(why, -ERR_RANGE, "status: %u is not 301, 302, 303, 307 or 308", d->status);
    }
    if (*scheme && strcmp(scheme, "http") != 0 && strcmp(scheme, "https") != 0) {
        return FAIL(why, -ERR_SYNTAX, "scheme: '%.16s' is not http or https", scheme);
    }
    if (!is_host_text(text_or_empty(d->hostname))) {
        return FAIL(why, -ERR_SYNTAX, "hostname: '%.64s' is no host name", d->hostname);
    }
    return check_path_change(r, &d->path, why);
}

static int check_rewrite(const struct l7_route *r, const struct l7_rewrite *w, struct diag *why)
{
    if (!is_host_text(text_or_empty(w->hostname))) {
        return FAIL(why, -ERR_SYNTAX, "hostname: '%.64s' is no host name", w->hostname);
    }
    return check_path_change(r, &w->path, why);
}

static int check_backend(const struct l7_backend *b, struct diag *why)
{
    if (!text_is_empty(b->invalid)) {
        return 0; /* whatever else it says, nobody goes there */
    }
    if (text_is_empty(b->hostname)) {
        return FAIL(why, -ERR_SYNTAX, "hostname: is empty");
    }
    return b->port > 0 ? 0 : FAIL(why, -ERR_RANGE, "port: is 0");
}

static int check_cors(const struct l7_cors *c, struct diag *why)
{
    for (size_t i = 0; i < c->allow_origin_count; i++) {
        const char *origin = text_or_empty(c->allow_origins[i]);
        const char *star = strchr(origin, '*');
        bool whole = strcmp(origin, "*") == 0;
        bool label =
            star && star > origin && star[-1] == '/' && star[1] == '.' && !strchr(star + 1, '*');
        if (*origin == '\0' || !is_field_value(origin) || (star && !whole && !label)) {
            return FAIL(why, -ERR_SYNTAX, "allow_origins[%zu]: '%.48s' is no origin", i, origin);
        }
    }
    return 0;
}

static int check_filter(const struct l7_route *r, const struct l7_filter *f, struct diag *why)
{
    switch (f->kind) {
    case L7_FILTER_REQUEST_HEADERS:
    case L7_FILTER_RESPONSE_HEADERS:
        return check_headers(&f->headers, why);
    case L7_FILTER_REDIRECT:
        return check_redirect(r, &f->redirect, why);
    case L7_FILTER_REWRITE:
        return check_rewrite(r, &f->rewrite, why);
    case L7_FILTER_MIRROR:
        if (f->mirror.denominator > 0 && f->mirror.numerator > f->mirror.denominator) {
            return FAIL(why, -ERR_RANGE, "mirror: %u of %u", f->mirror.numerator,
                        f->mirror.denominator);
        }
        return check_backend(&f->mirror.backend, why);
    case L7_FILTER_CORS:
        return check_cors(&f->cors, why);
    }
    return FAIL(why, -ERR_RANGE, "is of no known kind");
}

static int check_filters(const struct l7_route *r, const struct l7_filter *at, size_t count,
                         const char *where, bool of_backend, struct diag *why)
{
    if (count > L7_ROUTE_FILTERS_MAX) {
        return FAIL(why, -ERR_LIMIT, "%s: %zu, at most %d", where, count, L7_ROUTE_FILTERS_MAX);
    }
    for (size_t i = 0; i < count; i++) {
        struct diag inner = {.code = 0};
        int c = check_filter(r, &at[i], &inner);
        if (c < 0) {
            return FAIL(why, c, "%s[%zu].%s", where, i, inner.text);
        }
        if (of_backend && (at[i].kind == L7_FILTER_MIRROR || at[i].kind == L7_FILTER_CORS)) {
            return FAIL(why, -ERR_UNSUPPORTED, "%s[%zu]: not on a backend", where, i);
        }
    }
    return 0;
}

static int check_matches(const struct l7_route *r, struct diag *why)
{
    if (r->match_count > L7_ROUTE_MATCHES_MAX) {
        return FAIL(why, -ERR_LIMIT, "matches: %zu, at most %d", r->match_count,
                    L7_ROUTE_MATCHES_MAX);
    }
    for (size_t i = 0; i < r->match_count; i++) {
        struct diag inner = {.code = 0};
        int c = check_match(&r->matches[i], &inner);
        if (c < 0) {
            return FAIL(why, c, "matches[%zu].%s", i, inner.text);
        }
    }
    return 0;
}

static int check_backends(const struct l7_route *r, struct diag *why)
{
    if (r->backend_count > L7_ROUTE_BACKENDS_MAX) {
        return FAIL(why, -ERR_LIMIT, "backends: %zu, at most %d", r->backend_count,
                    L7_ROUTE_BACKENDS_MAX);
    }
    for (size_t i = 0; i < r->backend_count; i++) {
        const struct l7_backend *b = &r->backends[i];
        struct diag inner = {.code = 0};
        char where[40];
        int c = check_backend(b, &inner);
        if (c < 0) {
            return FAIL(why, c, "backends[%zu].%s", i, inner.text);
        }
        (void)snprintf(where, sizeof(where), "backends[%zu].filters", i);
        c = check_filters(r, b->filters, b->filter_count, where, true, why);
        if (c < 0) {
            return c;
        }
    }
    return 0;
}

static int check_retry(const struct l7_retry *t, struct diag *why)
{
    if (t->attempts > L7_RETRY_ATTEMPTS_MAX) {
        return FAIL(why, -ERR_RANGE, "retry.attempts: %u, at most %d", t->attempts,
                    L7_RETRY_ATTEMPTS_MAX);
    }
    for (size_t i = 0; i < t->code_count; i++) {
        if (t->codes[i] < L7_STATUS_FIRST || t->codes[i] > L7_STATUS_LAST) {
            return FAIL(why, -ERR_RANGE, "retry.codes[%zu]: %u is no status", i, t->codes[i]);
        }
    }
    return 0;
}

int l7_route_check(const struct l7_route *from, struct diag *why)
{
    if (text_is_empty(from->hostname)) {
        return FAIL(why, -ERR_SYNTAX, "hostname: is empty");
    }
    int r = check_matches(from, why);
    if (r == 0) {
        r = check_filters(from, from->filters, from->filter_count, "filters", false, why);
    }
    if (r == 0) {
        r = check_backends(from, why);
    }
    return r < 0 ? r : check_retry(&from->retry, why);
}
