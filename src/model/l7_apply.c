/* SPDX-License-Identifier: Apache-2.0 */
#include "model/l7_apply.h"

#include <string.h>

#include "base/ascii.h"
#include "base/rand.h"
#include "model/l7_match_int.h"
#include "model/l7_pack_int.h"

/* ---- backends, mirrors, retries */

enum l7_refusal l7_pick_backend(const struct l7_route *r, uint64_t seed,
                                const struct l7_backend **out)
{
    struct rand_seq chance;

    if (*r->invalid) {
        return L7_BAD_RULE;
    }
    if (r->weight_total == 0) {
        return L7_NO_BACKEND;
    }
    rand_seq_init(&chance, seed);
    uint64_t at = rand_seq_below(&chance, r->weight_total);
    const struct l7_backend *b = r->backends;
    for (; at >= b->weight; b++) {
        at -= b->weight;
    }
    *out = b;
    return *b->invalid ? L7_BAD_BACKEND : L7_FOLLOWED;
}

struct l7_rewrite l7_rewrite_of(const struct l7_route *r, const struct l7_backend *drawn)
{
    static const struct l7_rewrite none = {.hostname = "", .path = {L7_PATH_KEPT, ""}};
    const struct l7_rewrite *last = drawn && drawn->rewrite ? drawn->rewrite : &none;
    const struct l7_rewrite *first = r && r->rewrite ? r->rewrite : &none;

    return (struct l7_rewrite){.hostname = *last->hostname ? last->hostname : first->hostname,
                               .path = last->path.kind != L7_PATH_KEPT ? last->path : first->path};
}

bool l7_mirror_drawn(const struct l7_mirror *m, uint64_t seed)
{
    struct rand_seq chance;

    rand_seq_init(&chance, seed);
    return rand_seq_below(&chance, m->denominator) < m->numerator;
}

bool l7_retries_status(const struct l7_retry *r, unsigned status)
{
    unsigned bit = status - L7_STATUS_FIRST;

    return status >= L7_STATUS_FIRST && status <= L7_STATUS_LAST &&
           (r->mask[bit / 64] >> bit % 64 & 1) != 0;
}

uint64_t l7_retry_backoff_ms(const struct l7_retry *r, unsigned n, uint64_t seed)
{
    enum { TIMES_MAX = 10 };
    unsigned doublings = n > 0 ? n - 1 : 0;
    uint64_t times = doublings < 4 ? UINT64_C(1) << doublings : TIMES_MAX;
    uint64_t base = r->backoff_ms;
    struct rand_seq chance;

    if (base > UINT32_MAX) {
        base = UINT32_MAX;
    }
    rand_seq_init(&chance, seed);
    return rand_seq_below(&chance, base * (times < TIMES_MAX ? times : TIMES_MAX) + 1);
}

/* ---- paths */

/* What of the path stands behind the prefix, its '/' included. */
static struct slice behind_prefix(const struct l7_match *match, struct slice path)
{
    size_t len = match && match->path.kind == L7_PATH_PREFIX ? match->path.value_len : 0;

    return len <= path.len ? (struct slice){path.p + len, path.len - len} : (struct slice){"", 0};
}

static void swap_prefix(const char *with, struct slice rest, struct strbuf *out)
{
    size_t len = strlen(with);

    while (len > 0 && with[len - 1] == '/') {
        len--;
    }
    strbuf_add(out, with, len);
    if (rest.len > 0 && *rest.p != '/') {
        strbuf_putc(out, '/');
    }
    strbuf_add(out, rest.p, rest.len);
    if (len == 0 && rest.len == 0) {
        strbuf_putc(out, '/');
    }
}

void l7_path_apply(const struct l7_path_change *c, const struct l7_match *match, struct slice path,
                   struct strbuf *out)
{
    switch (c->kind) {
    case L7_PATH_KEPT:
        strbuf_add(out, path.p, path.len);
        break;
    case L7_PATH_FULL:
        strbuf_puts(out, c->value);
        break;
    case L7_PATH_PREFIX_SWAPPED:
        swap_prefix(c->value, behind_prefix(match, path), out);
        break;
    }
}

/* ---- redirects */

/* Without a port; brackets of IPv6 stay. */
static struct slice host_of(struct slice authority)
{
    const char *close = authority.len > 0 ? memchr(authority.p, ']', authority.len) : NULL;
    size_t from = close ? (size_t)(close - authority.p) : 0;
    const char *colon =
        authority.len > from ? memchr(authority.p + from, ':', authority.len - from) : NULL;

    return colon ? (struct slice){authority.p, (size_t)(colon - authority.p)} : authority;
}

static uint16_t port_of_scheme(const char *scheme)
{
    return strcmp(scheme, "https") == 0 ? 443 : 80;
}

void l7_redirect_location(const struct l7_redirect *r, const struct l7_match *match,
                          const struct l7_request *q, const struct l7_came *came,
                          struct strbuf *out)
{
    const char *scheme = *r->scheme ? r->scheme : came->scheme;
    uint16_t port = r->port      ? r->port
                    : *r->scheme ? port_of_scheme(r->scheme)
                                 : came->listener_port;
    struct slice host = *r->hostname ? slice_of(r->hostname) : host_of(q->authority);

    strbuf_puts(out, scheme);
    strbuf_puts(out, "://");
    strbuf_add(out, host.p, host.len);
    if (port != port_of_scheme(scheme)) {
        strbuf_printf(out, ":%u", port);
    }
    l7_path_apply(&r->path, match, q->path, out);
    if (q->query.len > 0) {
        strbuf_putc(out, '?');
        strbuf_add(out, q->query.p, q->query.len);
    }
}

/* ---- CORS */

bool l7_is_preflight(const struct l7_request *q)
{
    return slice_is(q->method, "OPTIONS") && l7_request_header(q, "origin").p &&
           l7_request_header(q, "access-control-request-method").p;
}

/* "scheme://" "*.host": one or more labels stand for the star, with any port only as given. */
static bool origin_fits(const char *pattern, struct slice origin)
{
    const char *star = strchr(pattern, '*');

    if (strcmp(pattern, "*") == 0 || slice_is(origin, pattern)) {
        return true;
    }
    if (!star) {
        return false;
    }
    size_t head = (size_t)(star - pattern);
    size_t tail = strlen(star + 1);
    if (origin.len <= head + tail || memcmp(origin.p, pattern, head) != 0 ||
        memcmp(origin.p + origin.len - tail, star + 1, tail) != 0) {
        return false;
    }
    for (size_t i = head; i < origin.len - tail; i++) {
        char c = origin.p[i];
        if (!ascii_is_alnum(c) && c != '-' && c != '.') {
            return false;
        }
    }
    return origin.p[head] != '.';
}

static bool origin_allowed(const struct l7_cors *c, struct slice origin)
{
    for (size_t i = 0; i < c->allow_origin_count; i++) {
        if (origin_fits(c->allow_origins[i], origin)) {
            return true;
        }
    }
    return false;
}

static bool has_star(const char *const *list, size_t count)
{
    bool star = false;

    for (size_t i = 0; i < count; i++) {
        star = star || strcmp(list[i], "*") == 0;
    }
    return star;
}

static void join(struct strbuf *out, const char *const *list, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        strbuf_puts(out, i > 0 ? ", " : "");
        strbuf_puts(out, list[i]);
    }
}

/* A "*" beside credentials is read by browsers as a name: what was asked for is given then. */
static void give_list(struct strbuf *out, const char *const *list, size_t count, struct slice asked)
{
    if (has_star(list, count)) {
        strbuf_add(out, asked.p, asked.len);
    } else {
        join(out, list, count);
    }
}

static void answer_preflight(const struct l7_cors *c, const struct l7_request *q,
                             struct l7_cors_headers *out)
{
    give_list(&out->allow_methods, c->allow_methods, c->allow_method_count,
              l7_request_header(q, "access-control-request-method"));
    give_list(&out->allow_headers, c->allow_headers, c->allow_header_count,
              l7_request_header(q, "access-control-request-headers"));
    strbuf_printf(&out->max_age, "%u", c->max_age_s);
}

struct l7_cors_verdict l7_cors_decide(const struct l7_cors *c, const struct l7_request *q,
                                      struct l7_cors_headers *out)
{
    struct slice origin = l7_request_header(q, "origin");
    struct l7_cors_verdict v = {.preflight = l7_is_preflight(q)};

    v.allowed = origin.p && origin_allowed(c, origin);
    if (!v.allowed) {
        return v;
    }
    v.credentials = c->allow_credentials;
    strbuf_add(&out->allow_origin, origin.p, origin.len);
    if (v.preflight) {
        answer_preflight(c, q, out);
    }
    if (!has_star(c->expose_headers, c->expose_header_count) || !v.credentials) {
        join(&out->expose_headers, c->expose_headers, c->expose_header_count);
    }
    return v;
}

void l7_cors_headers_fini(struct l7_cors_headers *h)
{
    strbuf_fini(&h->allow_origin);
    strbuf_fini(&h->allow_methods);
    strbuf_fini(&h->allow_headers);
    strbuf_fini(&h->expose_headers);
    strbuf_fini(&h->max_age);
}
