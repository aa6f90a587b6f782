/* SPDX-License-Identifier: Apache-2.0 */
#include "model/l7_apply.h"

#include <string.h>

#include "l7_lab.h"
#include "t.h"

/* ---- backends */

static const struct l7_route *weighted(const uint32_t *weights, size_t n, const char *invalid)
{
    struct l7_backend b[8] = {{.ns = ""}};
    static const char *const names[] = {"a", "b", "c", "d"};
    struct l7_route r = {
        .ns = "ns",
        .hostname = "svc",
        .backends = b,
        .backend_count = n,
        .retry = {.attempts = 2, .codes = (uint16_t[]){500, 503}, .code_count = 2}};
    const struct l7_route *made = NULL;

    for (size_t i = 0; i < n; i++) {
        b[i] =
            (struct l7_backend){.ns = "ns", .hostname = names[i], .port = 80, .weight = weights[i]};
    }
    if (invalid && n > 0) {
        b[n - 1].invalid = invalid;
        b[n - 1].hostname = NULL;
    }
    return l7_route_new(&made, &r, NULL) < 0 ? NULL : made;
}

TEST(weights_decide_over_invalid_backends_too)
{
    AUTO(l7_route)
    const struct l7_route *r = weighted((uint32_t[]){70, 30, 0, 100}, 4, "BackendNotFound");
    unsigned hits[4] = {0}, bad = 0;

    CHECK(r);
    for (uint64_t seed = 0; seed < 10000; seed++) {
        const struct l7_backend *b = NULL;
        enum l7_refusal how = l7_pick_backend(r, seed, &b);
        bad += how == L7_BAD_BACKEND;
        hits[b - r->backends]++;
    }
    CHECK(hits[0] > 3200 && hits[0] < 3800);
    CHECK(hits[1] > 1300 && hits[1] < 1700);
    CHECK_INT(hits[2], 0);
    CHECK_INT(bad, hits[3]);
    CHECK_STR(r->backends[0].key, "ns/a");
}

TEST(no_backend_no_weight_and_a_bad_rule_are_500)
{
    AUTO(l7_route) const struct l7_route *none = weighted(NULL, 0, NULL);
    AUTO(l7_route) const struct l7_route *zero = weighted((uint32_t[]){0, 0}, 2, NULL);
    struct l7_route bad = {.hostname = "svc", .invalid = "UnsupportedValue"};
    AUTO(l7_route) const struct l7_route *made = NULL;
    const struct l7_backend *b = NULL;

    CHECK_INT(l7_pick_backend(none, 1, &b), L7_NO_BACKEND);
    CHECK_INT(l7_pick_backend(zero, 1, &b), L7_NO_BACKEND);
    CHECK_INT(l7_route_new(&made, &bad, NULL), 0);
    CHECK_INT(l7_pick_backend(made, 1, &b), L7_BAD_RULE);
}

TEST(a_backends_redirect_and_rewrite_go_before_the_rules)
{
    struct l7_filter of_rule = {
        .kind = L7_FILTER_REWRITE,
        .rewrite = {"Rule.example", {L7_PATH_FULL, "/of-rule"}},
    };
    struct l7_filter of_backend[] = {
        {.kind = L7_FILTER_REWRITE, .rewrite = {"", {L7_PATH_FULL, "/of-backend"}}},
        {.kind = L7_FILTER_REWRITE, .rewrite = {"second.example", {L7_PATH_KEPT, ""}}},
        {.kind = L7_FILTER_REDIRECT, .redirect = {.hostname = "else.example"}},
    };
    struct l7_backend b[] = {
        {.ns = "ns", .hostname = "a", .port = 80, .filters = of_backend, .filter_count = 3},
        {.ns = "ns", .hostname = "b", .port = 80}};
    struct l7_route from = {.hostname = "svc",
                            .filters = &of_rule,
                            .filter_count = 1,
                            .backends = b,
                            .backend_count = 2};
    AUTO(l7_route) const struct l7_route *r = NULL;

    CHECK_INT(l7_route_new(&r, &from, NULL), 0);
    struct l7_rewrite w = l7_rewrite_of(r, &r->backends[0]);
    CHECK_STR(w.path.value, "/of-backend");
    CHECK_STR(w.hostname, "rule.example"); /* what the first of them leaves open */
    CHECK_STR(l7_rewrite_of(r, &r->backends[1]).path.value, "/of-rule");
    CHECK_STR(l7_rewrite_of(r, NULL).hostname, "rule.example");
    CHECK_INT(l7_rewrite_of(NULL, NULL).path.kind, L7_PATH_KEPT);
    CHECK_STR(r->backends[0].redirect->hostname, "else.example");
    CHECK(!r->backends[1].redirect && !r->backends[1].rewrite && !r->redirect);
}

TEST(mirrors_are_drawn_by_fraction)
{
    struct l7_mirror m = {.numerator = 25, .denominator = 50};
    unsigned drawn = 0;

    for (uint64_t seed = 0; seed < 10000; seed++) {
        drawn += l7_mirror_drawn(&m, seed);
    }
    CHECK(drawn > 4800 && drawn < 5200);
    m = (struct l7_mirror){.numerator = 1, .denominator = 1};
    CHECK(l7_mirror_drawn(&m, 3));
    m = (struct l7_mirror){.numerator = 0, .denominator = 100};
    CHECK(!l7_mirror_drawn(&m, 3));
}

TEST(retries_are_for_their_codes_and_wait_longer_each_time)
{
    AUTO(l7_route) const struct l7_route *r = weighted((uint32_t[]){1}, 1, NULL);
    uint64_t most[6] = {0};

    CHECK(l7_retries_status(&r->retry, 500));
    CHECK(l7_retries_status(&r->retry, 503));
    CHECK(!l7_retries_status(&r->retry, 502));
    CHECK(!l7_retries_status(&r->retry, 99));
    CHECK(!l7_retries_status(&r->retry, 600));
    for (unsigned n = 1; n < 6; n++) {
        for (uint64_t seed = 0; seed < 2000; seed++) {
            uint64_t ms = l7_retry_backoff_ms(&r->retry, n, seed);
            most[n] = ms > most[n] ? ms : most[n];
        }
    }
    CHECK_INT(most[1], 25);
    CHECK_INT(most[2], 50);
    CHECK_INT(most[3], 100);
    CHECK_INT(most[4], 200);
    CHECK_INT(most[5], 250);
}

/* ---- paths */

static const char *swapped(const char *prefix, const char *with, const char *path,
                           struct strbuf *out)
{
    struct lab_rule rule = {prefix, "v1"};
    AUTO(l7_route) const struct l7_route *r = lab_route(&rule);
    struct l7_path_change c = {L7_PATH_PREFIX_SWAPPED, with};

    strbuf_clear(out);
    l7_path_apply(&c, &r->matches[0], slice_of(path), out);
    return strbuf_text(out);
}

TEST(a_swapped_prefix_leaves_one_slash)
{
    static const struct {
        const char *prefix, *with, *path, *want;
    } rows[] = {
        {"/foo", "/xyz", "/foo/bar", "/xyz/bar"},
        {"/foo/", "/xyz/", "/foo/bar", "/xyz/bar"},
        {"/foo", "/xyz", "/foo", "/xyz"},
        {"/foo", "/xyz", "/foo/", "/xyz/"},
        {"/foo", "", "/foo/bar", "/bar"},
        {"/foo", "", "/foo/", "/"},
        {"/foo", "", "/foo", "/"},
        {"/foo", "/", "/foo/", "/"},
        {"/foo", "/", "/foo", "/"},
        {"/", "/v1", "/a", "/v1/a"},
        {"/strip", "/", "/strip/three", "/three"},
    };
    AUTO(strbuf) struct strbuf out = {0};

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        CHECK_STR(swapped(rows[i].prefix, rows[i].with, rows[i].path, &out), rows[i].want);
    }
    struct l7_path_change full = {L7_PATH_FULL, "/one"};
    strbuf_clear(&out);
    l7_path_apply(&full, NULL, slice_of("/a/b"), &out);
    CHECK_STR(strbuf_text(&out), "/one");
}

TEST(a_redirect_says_a_port_only_where_the_scheme_does_not)
{
    static const struct {
        const char *came;
        uint16_t listener;
        const char *scheme;
        uint16_t port;
        const char *want;
    } rows[] = {
        {"http", 80, "", 0, "http://example.org/p?q=1"},
        {"http", 80, "", 8080, "http://example.org:8080/p?q=1"},
        {"http", 80, "https", 0, "https://example.org/p?q=1"},
        {"http", 80, "https", 8443, "https://example.org:8443/p?q=1"},
        {"http", 8080, "", 0, "http://example.org:8080/p?q=1"},
        {"http", 8080, "", 80, "http://example.org/p?q=1"},
        {"http", 8080, "https", 0, "https://example.org/p?q=1"},
        {"https", 443, "", 0, "https://example.org/p?q=1"},
        {"https", 443, "", 8443, "https://example.org:8443/p?q=1"},
        {"https", 443, "http", 0, "http://example.org/p?q=1"},
        {"https", 443, "http", 8080, "http://example.org:8080/p?q=1"},
    };
    AUTO(strbuf) struct strbuf out = {0};
    struct lab_request r;

    lab_request(&r, "GET /p?q=1", NULL);
    r.q.authority = slice_of("example.org:1234");
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct l7_redirect d = {
            .scheme = rows[i].scheme, .hostname = "", .port = rows[i].port, .path = {.value = ""}};
        struct l7_came came = {rows[i].came, rows[i].listener};
        strbuf_clear(&out);
        l7_redirect_location(&d, NULL, &r.q, &came, &out);
        CHECK_STR(strbuf_text(&out), rows[i].want);
    }
}

/* ---- CORS */

static const struct l7_cors c1 = {
    .allow_origins = (const char *const[]){"https://www.foo.com", "https://*.bar.com"},
    .allow_origin_count = 2,
    .allow_methods = (const char *const[]){"GET", "OPTIONS"},
    .allow_method_count = 2,
    .allow_headers = (const char *const[]){"x-header-1", "x-header-2"},
    .allow_header_count = 2,
    .expose_headers = (const char *const[]){"x-header-3", "x-header-4"},
    .expose_header_count = 2,
    .allow_credentials = true,
    .max_age_s = 3600};

static const char *const star[] = {"*"};

struct cors_row {
    const struct l7_cors *cors;
    const char *line;
    const char *headers;
    bool preflight;
    const char *origin, *methods, *allow_headers, *expose, *max_age;
    bool credentials;
};

static bool cors_answers(struct test *t, const struct cors_row *row)
{
    struct l7_cors_headers h = {.max_age = {0}};
    struct lab_request r;
    bool good = true;

    lab_request(&r, row->line, row->headers);
    struct l7_cors_verdict v = l7_cors_decide(row->cors, &r.q, &h);
#define SAYS(field, want)                                                                          \
    good = good && test_str(t, __FILE__, __LINE__, row->headers, strbuf_text(&h.field), want)
    SAYS(allow_origin, row->origin);
    SAYS(allow_methods, row->methods);
    SAYS(allow_headers, row->allow_headers);
    SAYS(expose_headers, row->expose);
    SAYS(max_age, row->max_age);
#undef SAYS
    good = good && test_int(t, __FILE__, __LINE__, "preflight", v.preflight, row->preflight) &&
           test_int(t, __FILE__, __LINE__, "allowed", v.allowed, *row->origin != '\0') &&
           test_int(t, __FILE__, __LINE__, "credentials", v.credentials, row->credentials);
    l7_cors_headers_fini(&h);
    return good;
}

TEST(cors_is_answered_as_the_conformance_table_says)
{
    const struct l7_cors c4 = {.allow_origins = star,
                               .allow_origin_count = 1,
                               .allow_methods = star,
                               .allow_method_count = 1,
                               .allow_headers = star,
                               .allow_header_count = 1,
                               .expose_headers = star,
                               .expose_header_count = 1,
                               .allow_credentials = true,
                               .max_age_s = 5};
    struct l7_cors c5 = c4;
#define ASKS                                                                                       \
    "\naccess-control-request-method: GET\naccess-control-request-headers: x-header-1, x-header-2"
    const struct cors_row rows[] = {
        {&c1, "OPTIONS /", "origin: https://www.foo.com" ASKS, true, "https://www.foo.com",
         "GET, OPTIONS", "x-header-1, x-header-2", "x-header-3, x-header-4", "3600", true},
        {&c1, "OPTIONS /", "origin: https://xpto.www.bar.com" ASKS, true,
         "https://xpto.www.bar.com", "GET, OPTIONS", "x-header-1, x-header-2",
         "x-header-3, x-header-4", "3600", true},
        {&c1, "OPTIONS /", "origin: https://foobar.com" ASKS, true, "", "", "", "", "", false},
        {&c1, "OPTIONS /", "origin: https://bar.com" ASKS, true, "", "", "", "", "", false},
        {&c1, "OPTIONS /", "origin: https://.bar.com" ASKS, true, "", "", "", "", "", false},
        {&c1, "OPTIONS /", "origin: https://..bar.com" ASKS, true, "", "", "", "", "", false},
        {&c1, "OPTIONS /", "origin: https://evil.com/x.bar.com" ASKS, true, "", "", "", "", "",
         false},
        {&c1, "OPTIONS /", "origin: http://www.foo.com" ASKS, true, "", "", "", "", "", false},
        {&c1, "GET /", "origin: https://www.bar.com", false, "https://www.bar.com", "", "",
         "x-header-3, x-header-4", "", true},
        {&c1, "GET /", "origin: https://foobar.com", false, "", "", "", "", "", false},
        {&c1, "OPTIONS /", "origin: https://www.foo.com", false, "https://www.foo.com", "", "",
         "x-header-3, x-header-4", "", true},
        {&c4, "OPTIONS /",
         "origin: https://other.foo.com:99\naccess-control-request-method: PUT\n"
         "access-control-request-headers: x-a",
         true, "https://other.foo.com:99", "PUT", "x-a", "", "5", true},
        {&c5, "GET /", "origin: https://other.foo.com", false, "https://other.foo.com", "", "", "*",
         "", false},
    };

    c5.allow_credentials = false;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (!cors_answers(t, &rows[i])) {
            return;
        }
    }
}

/* ---- what a template must satisfy */

TEST(a_refusal_names_the_field)
{
    static const struct {
        const char *matches;
        const char *says;
    } rows[] = {
        {"=one", "matches[0].path.value"},
        {"/|~/(", "matches[1].path.value: regular expression"},
        {"h~a=(?=x)", "matches[0].headers[0].value: regular expression"},
        {"q~a=\\1", "matches[0].query[0].value: regular expression"},
        {"GE(T", "matches[0].method"},
        {"h:a(b=c", "matches[0].headers[0].name"},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct lab_rule rule = {rows[i].matches, "v1"};
        struct diag why = {.code = 0};
        AUTO(l7_route) const struct l7_route *r = NULL;
        CHECK(lab_route_try(&r, &rule, &why) < 0);
        if (!strstr(why.text, rows[i].says)) {
            test_fail(t, __FILE__, __LINE__, why.text);
            return;
        }
    }
}

static int try_filter(struct l7_filter f, bool on_backend, struct diag *why)
{
    AUTO(l7_route) const struct l7_route *made = NULL;
    struct l7_backend b = {.hostname = "b", .port = 1, .filters = &f, .filter_count = 1};
    struct l7_route r = {.hostname = "svc"};
    struct l7_match exact = {.path = {.kind = L7_PATH_EXACT, .value = "/a"}};

    if (on_backend) {
        r.backends = &b;
        r.backend_count = 1;
    } else {
        r.filters = &f;
        r.filter_count = 1;
        r.matches = &exact;
        r.match_count = 1;
    }
    return l7_route_new(&made, &r, why);
}

TEST(filters_that_mean_nothing_are_refused)
{
    struct l7_header bad_name = {"x y", "v"}, bad_value = {"x", "a\r\nb: c"};
    const struct {
        struct l7_filter f;
        bool on_backend;
        const char *says;
    } rows[] = {
        {{.kind = L7_FILTER_REQUEST_HEADERS, .headers = {.set = &bad_name, .set_count = 1}},
         false,
         "filters[0].set"},
        {{.kind = L7_FILTER_RESPONSE_HEADERS, .headers = {.add = &bad_value, .add_count = 1}},
         true,
         "backends[0].filters[0].add"},
        {{.kind = L7_FILTER_REDIRECT, .redirect = {.status = 300}}, false, "status"},
        {{.kind = L7_FILTER_REDIRECT, .redirect = {.scheme = "ftp"}}, false, "scheme"},
        {{.kind = L7_FILTER_REDIRECT, .redirect = {.hostname = "a\r\nb"}}, false, "hostname"},
        {{.kind = L7_FILTER_REWRITE, .rewrite = {.path = {.kind = L7_PATH_FULL, .value = "/a b"}}},
         false,
         "path.value"},
        {{.kind = L7_FILTER_REWRITE,
          .rewrite = {.path = {.kind = L7_PATH_PREFIX_SWAPPED, .value = "/b"}}},
         false,
         "PREFIX"},
        {{.kind = L7_FILTER_MIRROR,
          .mirror = {.backend = {.hostname = "b", .port = 1}, .numerator = 2, .denominator = 1}},
         false,
         "mirror"},
        {{.kind = L7_FILTER_MIRROR, .mirror = {.backend = {.hostname = "b", .port = 1}}},
         true,
         "not on a backend"},
        {{.kind = L7_FILTER_CORS,
          .cors = {.allow_origins = (const char *const[]){"https://a*b"}, .allow_origin_count = 1}},
         false,
         "allow_origins[0]"},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct diag why = {.code = 0};
        CHECK(try_filter(rows[i].f, rows[i].on_backend, &why) < 0);
        if (!strstr(why.text, rows[i].says)) {
            test_fail(t, __FILE__, __LINE__, why.text);
            return;
        }
    }
}

TEST(a_made_rule_has_lower_case_names_and_its_filters_at_hand)
{
    struct l7_header set = {"X-Set", "Value"};
    const char *remove[] = {"X-Gone"};
    struct l7_filter f[] = {
        {.kind = L7_FILTER_REQUEST_HEADERS,
         .headers = {.set = &set, .set_count = 1, .remove = remove, .remove_count = 1}},
        {.kind = L7_FILTER_REDIRECT, .redirect = {.hostname = "x"}},
        {.kind = L7_FILTER_CORS}};
    struct l7_route r = {.hostname = "svc",
                         .ns = "n",
                         .route_ns = "a",
                         .route_name = "b",
                         .rule = 3,
                         .filters = f,
                         .filter_count = 3};
    AUTO(l7_route) const struct l7_route *made = NULL;

    CHECK_INT(l7_route_new(&made, &r, NULL), 0);
    CHECK_STR(made->label, "a.b.3");
    CHECK_STR(made->service, "n/svc");
    CHECK_STR(made->filters[0].headers.set[0].name, "x-set");
    CHECK_STR(made->filters[0].headers.remove[0], "x-gone");
    CHECK_INT(made->redirect->status, 302);
    CHECK_INT(made->cors->max_age_s, 5);
    CHECK(!made->rewrite);
    CHECK_INT(made->match_count, 1);
}
