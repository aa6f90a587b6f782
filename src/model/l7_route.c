/* SPDX-License-Identifier: Apache-2.0 */
/* A rule is read on every request and changed never: laid out once, then what follows from it is
 * filled in before anybody else sees it. */
#include "model/l7_route.h"

#include <stdio.h>
#include <strings.h>

#include "model/const_int.h"
#include "model/l7_pack_int.h"
#include "model/l7_route_int.h"

enum { STATUS_DEFAULT = 302, BACKOFF_MS = 25, CORS_MAX_AGE_S = 5 };

/* ---- laying out: one function a level, each run twice by struct pack */

/* Of equal names the first counts, the others are left out. */
static bool is_repeated(const struct l7_value_match *from, size_t i, bool lower)
{
    bool seen = false;

    for (size_t k = 0; k < i && !seen; k++) {
        seen = lower ? strcasecmp(from[k].name, from[i].name) == 0
                     : strcmp(from[k].name, from[i].name) == 0;
    }
    return seen;
}

static const struct l7_value_match *pack_values(struct pack *p, const struct l7_value_match *from,
                                                size_t *count, bool lower)
{
    struct l7_value_match *to = pack_room(p, *count * sizeof(*to), _Alignof(struct l7_value_match));
    size_t kept = 0;

    for (size_t i = 0; i < *count; i++) {
        if (is_repeated(from, i, lower)) {
            continue;
        }
        const char *name = lower ? pack_lower(p, from[i].name) : pack_text(p, from[i].name);
        const char *value = pack_text(p, from[i].value);
        if (to) {
            to[kept] = (struct l7_value_match){.name = name,
                                               .kind = from[i].kind,
                                               .value = value,
                                               .name_len = (uint32_t)strlen(name),
                                               .value_len = (uint32_t)strlen(value)};
        }
        kept++;
    }
    *count = kept;
    return to;
}

/* How many characters at the front of an expression stand for themselves in every match. */
static uint32_t literal_len(const char *pattern)
{
    size_t n = strcspn(pattern, "\\.^$|?*+()[]{}");

    if (strchr(pattern, '|')) {
        return 0; /* there may be another way to begin */
    }
    if (n > 0 && pattern[n] && strchr("?*{", pattern[n])) {
        n--; /* the last one need not be there */
    }
    return (uint32_t)n;
}

static struct l7_path_match pack_path(struct pack *p, const struct l7_path_match *from)
{
    size_t len = from->value ? strlen(from->value) : 0;
    struct l7_path_match to = {.kind = from->kind};
    char *text = pack_room(p, len + 1, 1);

    while (from->kind == L7_PATH_PREFIX && len > 0 && from->value[len - 1] == '/') {
        len--;
    }
    if (text) {
        memcpy(text, from->value ? from->value : "", len);
        text[len] = '\0';
    }
    to.value = text;
    to.value_len = (uint32_t)len;
    to.literal_len = from->kind == L7_PATH_REGEX ? literal_len(from->value ? from->value : "") : 0;
    return to;
}

static const struct l7_match *pack_matches(struct pack *p, const struct l7_match *from,
                                           size_t count)
{
    struct l7_match *to = pack_room(p, count * sizeof(*to), _Alignof(struct l7_match));

    for (size_t i = 0; i < count; i++) {
        struct l7_match m = from[i];
        m.path = pack_path(p, &from[i].path);
        m.method = pack_text(p, from[i].method);
        m.headers = pack_values(p, from[i].headers, &m.header_count, true);
        m.query = pack_values(p, from[i].query, &m.query_count, false);
        if (to) {
            to[i] = m;
        }
    }
    return to;
}

static const struct l7_header *pack_headers(struct pack *p, const struct l7_header *from,
                                            size_t count)
{
    struct l7_header *to = pack_room(p, count * sizeof(*to), _Alignof(struct l7_header));

    for (size_t i = 0; i < count; i++) {
        const char *name = pack_lower(p, from[i].name);
        const char *value = pack_text(p, from[i].value);
        if (to) {
            to[i] = (struct l7_header){name, value};
        }
    }
    return to;
}

static const char *const *pack_lowers(struct pack *p, const char *const *from, size_t count)
{
    const char **to = pack_room(p, count * sizeof(*to), _Alignof(const char *));

    for (size_t i = 0; i < count; i++) {
        const char *text = pack_lower(p, from[i]);
        if (to) {
            to[i] = text;
        }
    }
    return to;
}

/* Without its filters: those of a mirror mean nothing. */
static struct l7_backend pack_backend(struct pack *p, const struct l7_backend *from)
{
    return (struct l7_backend){.ns = pack_text(p, from->ns),
                               .hostname = pack_text(p, from->hostname),
                               .key = pack_key(p, from->ns, from->hostname),
                               .port = from->port,
                               .protocol = from->protocol,
                               .weight = from->weight,
                               .invalid = pack_text(p, from->invalid)};
}

static struct l7_header_change pack_change(struct pack *p, const struct l7_header_change *from)
{
    struct l7_header_change to = *from;

    to.set = pack_headers(p, from->set, from->set_count);
    to.add = pack_headers(p, from->add, from->add_count);
    to.remove = pack_lowers(p, from->remove, from->remove_count);
    return to;
}

static struct l7_redirect pack_redirect(struct pack *p, const struct l7_redirect *from)
{
    struct l7_redirect to = *from;

    to.scheme = pack_text(p, from->scheme);
    to.hostname = pack_text(p, from->hostname);
    to.path.value = pack_text(p, from->path.value);
    to.status = from->status > 0 ? from->status : STATUS_DEFAULT;
    return to;
}

static struct l7_cors pack_cors(struct pack *p, const struct l7_cors *from)
{
    struct l7_cors to = *from;

    to.allow_origins = pack_texts(p, from->allow_origins, from->allow_origin_count);
    to.allow_methods = pack_texts(p, from->allow_methods, from->allow_method_count);
    to.allow_headers = pack_texts(p, from->allow_headers, from->allow_header_count);
    to.expose_headers = pack_texts(p, from->expose_headers, from->expose_header_count);
    to.max_age_s = from->max_age_s > 0 ? from->max_age_s : CORS_MAX_AGE_S;
    return to;
}

static struct l7_mirror pack_mirror(struct pack *p, const struct l7_mirror *from)
{
    bool all = from->denominator == 0;

    return (struct l7_mirror){.backend = pack_backend(p, &from->backend),
                              .numerator = all ? 1 : from->numerator,
                              .denominator = all ? 1 : from->denominator};
}

static struct l7_filter pack_filter(struct pack *p, const struct l7_filter *from)
{
    struct l7_filter to = {.kind = from->kind};

    switch (from->kind) {
    case L7_FILTER_REQUEST_HEADERS:
    case L7_FILTER_RESPONSE_HEADERS:
        to.headers = pack_change(p, &from->headers);
        break;
    case L7_FILTER_REDIRECT:
        to.redirect = pack_redirect(p, &from->redirect);
        break;
    case L7_FILTER_REWRITE:
        to.rewrite = from->rewrite;
        to.rewrite.hostname = pack_lower(p, from->rewrite.hostname);
        to.rewrite.path.value = pack_text(p, from->rewrite.path.value);
        break;
    case L7_FILTER_MIRROR:
        to.mirror = pack_mirror(p, &from->mirror);
        break;
    case L7_FILTER_CORS:
        to.cors = pack_cors(p, &from->cors);
        break;
    }
    return to;
}

static const struct l7_filter *pack_filters(struct pack *p, const struct l7_filter *from,
                                            size_t count)
{
    struct l7_filter *to = pack_room(p, count * sizeof(*to), _Alignof(struct l7_filter));

    for (size_t i = 0; i < count; i++) {
        struct l7_filter f = pack_filter(p, &from[i]);
        if (to) {
            to[i] = f;
        }
    }
    return to;
}

static const struct l7_backend *pack_backends(struct pack *p, const struct l7_backend *from,
                                              size_t count)
{
    struct l7_backend *to = pack_room(p, count * sizeof(*to), _Alignof(struct l7_backend));

    for (size_t i = 0; i < count; i++) {
        struct l7_backend b = pack_backend(p, &from[i]);
        b.filters = pack_filters(p, from[i].filters, from[i].filter_count);
        b.filter_count = from[i].filter_count;
        if (to) {
            to[i] = b;
        }
    }
    return to;
}

static const char *pack_label(struct pack *p, const struct l7_route *from)
{
    char number[16];
    const char *ns = from->route_ns ? from->route_ns : "";
    const char *name = from->route_name ? from->route_name : "";

    if (!text_is_empty(from->rule_name)) {
        return pack_text(p, from->rule_name);
    }
    (void)snprintf(number, sizeof(number), "%u", from->rule);
    size_t room = strlen(ns) + strlen(name) + strlen(number) + 3;
    char *to = pack_room(p, room, 1);
    if (to) {
        (void)snprintf(to, room, "%s.%s.%s", ns, name, number); /* fits */
    }
    return to;
}

static struct l7_route *lay_out(struct pack *p, const struct l7_route *from)
{
    static const struct l7_match everything;
    struct l7_route *room = pack_room(p, sizeof(*room), _Alignof(struct l7_route));
    struct l7_route to = *from;

    if (from->match_count == 0) {
        to.matches = &everything;
        to.match_count = 1;
    }
    to.matches = pack_matches(p, to.matches, to.match_count);
    to.filters = pack_filters(p, from->filters, from->filter_count);
    to.backends = pack_backends(p, from->backends, from->backend_count);
    to.retry.codes =
        pack_copy(p, from->retry.codes, from->retry.code_count * sizeof(*from->retry.codes),
                  _Alignof(uint16_t));
    to.resource = pack_text(p, from->resource);
    to.version = pack_text(p, from->version);
    to.service = pack_key(p, from->ns, from->hostname);
    to.ns = pack_text(p, from->ns);
    to.hostname = pack_text(p, from->hostname);
    to.route_ns = pack_text(p, from->route_ns);
    to.route_name = pack_text(p, from->route_name);
    to.rule_name = pack_text(p, from->rule_name);
    to.label = pack_label(p, from);
    to.invalid = pack_text(p, from->invalid);
    to.consumer = pack_text(p, from->consumer);
    if (room) {
        aref_init(&to.refs);
        memcpy(room, &to, sizeof(to));
    }
    return room;
}

/* ---- what follows from it */

static int compile_values(const struct l7_value_match *at, size_t count, const char *field,
                          struct diag *why)
{
    for (size_t i = 0; i < count; i++) {
        struct l7_value_match *v = unconst(&at[i]);
        struct diag inner = {.code = 0};
        int r = v->kind == L7_VALUE_REGEX ? l7_regex_new(&v->regex, v->value, &inner) : 0;
        if (r < 0) {
            return FAIL(why, r, "%s[%zu].value: %s", field, i, inner.text);
        }
    }
    return 0;
}

static int compile_match(const struct l7_match *at, struct diag *why)
{
    struct l7_match *m = unconst(at);
    struct diag inner = {.code = 0};
    int r = m->path.kind == L7_PATH_REGEX ? l7_regex_new(&m->path.regex, m->path.value, &inner) : 0;

    if (r < 0) {
        return FAIL(why, r, "path.value: %s", inner.text);
    }
    r = compile_values(m->headers, m->header_count, "headers", why);
    return r < 0 ? r : compile_values(m->query, m->query_count, "query", why);
}

static int compile_matches(const struct l7_route *r, struct diag *why)
{
    for (size_t i = 0; i < r->match_count; i++) {
        struct diag inner = {.code = 0};
        int c = compile_match(&r->matches[i], &inner);
        if (c < 0) {
            return FAIL(why, c, "matches[%zu].%s", i, inner.text);
        }
    }
    return 0;
}

static void find_backend_filters(struct l7_backend *b)
{
    for (size_t i = b->filter_count; i > 0; i--) {
        const struct l7_filter *f = &b->filters[i - 1];
        if (f->kind == L7_FILTER_REDIRECT) {
            b->redirect = &f->redirect;
        } else if (f->kind == L7_FILTER_REWRITE) {
            b->rewrite = &f->rewrite;
        }
    }
}

static void find_filters(struct l7_route *r)
{
    struct l7_backend *backends = unconst(r->backends);

    for (size_t i = 0; i < r->backend_count; i++) {
        find_backend_filters(&backends[i]);
    }
    r->redirect = NULL;
    r->rewrite = NULL;
    r->cors = NULL;
    for (size_t i = r->filter_count; i > 0; i--) {
        const struct l7_filter *f = &r->filters[i - 1];
        if (f->kind == L7_FILTER_REDIRECT) {
            r->redirect = &f->redirect;
        } else if (f->kind == L7_FILTER_REWRITE) {
            r->rewrite = &f->rewrite;
        } else if (f->kind == L7_FILTER_CORS) {
            r->cors = &f->cors;
        }
    }
}

static void add_up(struct l7_route *r)
{
    r->weight_total = 0;
    for (size_t i = 0; i < r->backend_count; i++) {
        r->weight_total += r->backends[i].weight;
    }
    memset(r->retry.mask, 0, sizeof(r->retry.mask));
    for (size_t i = 0; i < r->retry.code_count; i++) {
        unsigned bit = (unsigned)r->retry.codes[i] - L7_STATUS_FIRST;
        r->retry.mask[bit / 64] |= UINT64_C(1) << bit % 64;
    }
    if (r->retry.backoff_ms == 0) {
        r->retry.backoff_ms = BACKOFF_MS;
    }
}

int l7_route_new(const struct l7_route **out, const struct l7_route *from, struct diag *why)
{
    struct pack p = {.base = NULL};
    int c = l7_route_check(from, why);

    if (c < 0) {
        return c;
    }
    (void)lay_out(&p, from); /* measures */
    if (p.used > L7_ROUTE_BYTES_MAX) {
        return FAIL(why, -ERR_TOO_LARGE, "rule of %zu bytes, at most %d", p.used,
                    L7_ROUTE_BYTES_MAX);
    }
    p = (struct pack){.base = mem_alloc(p.used)};
    struct l7_route *r = lay_out(&p, from);
    find_filters(r);
    add_up(r);
    c = compile_matches(r, why);
    if (c < 0) {
        (void)l7_route_unref(r); /* NULL */
        return c;
    }
    *out = r;
    return 0;
}

const struct l7_route *l7_route_ref(const struct l7_route *r)
{
    if (r) {
        aref_get(&((struct l7_route *)unconst(r))->refs);
    }
    return r;
}

static void release_values(const struct l7_value_match *at, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        (void)l7_regex_unref(at[i].regex); /* NULL */
    }
}

const struct l7_route *l7_route_unref(const struct l7_route *r)
{
    struct l7_route *mine = unconst(r);

    if (!mine || !aref_put(&mine->refs)) {
        return NULL;
    }
    for (size_t i = 0; i < mine->match_count; i++) {
        const struct l7_match *m = &mine->matches[i];
        (void)l7_regex_unref(m->path.regex); /* NULL */
        release_values(m->headers, m->header_count);
        release_values(m->query, m->query_count);
    }
    mem_free(mine);
    return NULL;
}
