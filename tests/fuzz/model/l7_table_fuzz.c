/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Route tables of many entries that share paths and headers, two octets a piece, and requests to them:
 * the index must answer what trying all entries one after the other does.
 */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "model/l7_table.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { ROUTES_MAX = 6, MATCHES_MAX = 80, HEADERS = 5, ASKS_MAX = 40 };

static const char *const names[HEADERS] = {"x-0", "x-1", "x-2", "x-3", "x-4"};
static const char *const values[] = {"",  "0", "1", "2",  "3",  "4",  "5",  "6",
                                     "7", "8", "9", "10", "11", "12", "13", "14"};
static const struct l7_path_match paths[] = {
    {L7_PATH_PREFIX, "/"},     {L7_PATH_PREFIX, "/a"},   {L7_PATH_EXACT, "/a"},
    {L7_PATH_REGEX, "/a.*"},   {L7_PATH_PREFIX, "/a/b"}, {L7_PATH_EXACT, "/b"},
    {L7_PATH_REGEX, "/[ab]+"}, {L7_PATH_PREFIX, "/a"},
};

struct input {
    const uint8_t *at;
    size_t left;
};

static unsigned take(struct input *in)
{
    unsigned octet = in->left > 0 ? *in->at : 0;

    in->at += in->left > 0;
    in->left -= in->left > 0;
    return octet;
}

struct draft {
    struct l7_match matches[MATCHES_MAX];
    struct l7_value_match headers[MATCHES_MAX][4];
};

/* Path, method and how many headers in one octet, each header in two. */
static void draw_match(struct input *in, struct l7_match *m, struct l7_value_match *headers)
{
    static const char *const regexes[] = {"1.*", "[0-4]", "", ".+"};
    unsigned head = take(in);

    *m = (struct l7_match){.path = paths[head & 7],
                           .method = head & 8 ? "GET" : "",
                           .headers = headers,
                           .header_count = head >> 4 & 3};
    for (size_t i = 0; i < m->header_count; i++) {
        unsigned what = take(in);
        unsigned value = take(in);
        enum l7_value_kind kind = what >> 4 == 15   ? L7_VALUE_REGEX
                                  : what >> 4 == 14 ? L7_VALUE_PRESENT
                                                    : L7_VALUE_EXACT;
        headers[i] = (struct l7_value_match){.name = names[what % HEADERS],
                                             .kind = kind,
                                             .value = kind == L7_VALUE_REGEX ? regexes[value & 3]
                                                                             : values[value & 15]};
    }
}

static const struct l7_route *draw_route(struct input *in, uint32_t rule)
{
    static struct draft d;
    struct l7_route from = {.hostname = "svc", .route_ns = "ns", .route_name = "r", .rule = rule};
    const struct l7_route *made = NULL;

    from.match_count = take(in) % MATCHES_MAX;
    for (size_t i = 0; i < from.match_count; i++) {
        draw_match(in, &d.matches[i], d.headers[i]);
    }
    from.matches = d.matches;
    int r = l7_route_new(&made, &from, NULL);
    assert(r == 0);
    return made;
}

struct asked {
    const char *headers[HEADERS]; /* NULL: none */
};

static struct slice header_of(void *arg, const char *name)
{
    const struct asked *a = arg;

    for (size_t i = 0; i < HEADERS; i++) {
        if (strcmp(name, names[i]) == 0 && a->headers[i]) {
            return slice_of(a->headers[i]);
        }
    }
    return (struct slice){NULL, 0};
}

static void ask(const struct l7_table *t, struct input *in)
{
    static const char *const targets[] = {"/a", "/a/b", "/b", "/"};
    struct asked a = {.headers = {NULL}};
    unsigned head = take(in);
    struct l7_request q = {.method = slice_of(head & 4 ? "GET" : "PUT"),
                           .path = slice_of(targets[head & 3]),
                           .header = header_of,
                           .header_arg = &a};
    const struct l7_match *want = NULL;
    const struct l7_entry *e;
    unsigned unknown = 0;

    for (size_t i = 0; i < HEADERS; i++) {
        unsigned value = take(in);
        a.headers[i] = value & 16 ? values[value & 15] : NULL;
    }
    for (size_t i = 0; !want && (e = l7_table_entry(t, i)); i++) {
        want = l7_match_holds(e->match, &q, &unknown) ? e->match : NULL;
    }
    assert(l7_table_find(t, &q).match == want);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = {data, size};
    const struct l7_route *routes[ROUTES_MAX];
    size_t count = 1 + take(&in) % ROUTES_MAX;

    for (size_t i = 0; i < count; i++) {
        routes[i] = draw_route(&in, (uint32_t)i);
    }
    AUTO(l7_table) const struct l7_table *t = l7_table_new(routes, count);
    for (unsigned i = 0; i < ASKS_MAX && in.left > 0; i++) {
        ask(t, &in);
    }
    for (size_t i = 0; i < count; i++) {
        (void)l7_route_unref(routes[i]);
    }
    return 0;
}
