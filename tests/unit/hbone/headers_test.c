/* SPDX-License-Identifier: Apache-2.0 */
#include "hbone/headers.h"

#include <string.h>

#include "http/hpack.h"
#include "t.h"

enum { FIELDS = 8, LIMIT = 2000 };

static const struct {
    const char *fields[FIELDS][2];
    int add;   /* the worst answer of headers_add */
    int judge; /* if add was 0 */
} requests[] =
    {
        {{{":method", "CONNECT"}, {":authority", "10.0.0.1:80"}}, 0, 0},
        {{{":authority", "10.0.0.1:80"}, {":method", "CONNECT"}}, 0, 0},
        {{{":method", "CONNECT"}}, 0, 0}, /* answered with a status above */
        {{{":method", "GET"}, {":scheme", "https"}, {":path", "/"}}, 0, 0},
        {{{":method", "connect"}, {":scheme", "https"}, {":path", "/"}}, 0, 0},
        {{{":method", "GET"}}, 0, -ERR_SYNTAX},
        {{{":method", "CONNECT"}, {":scheme", "https"}}, 0, -ERR_SYNTAX},
        {{{":method", "CONNECT"}, {":path", "/"}}, 0, -ERR_SYNTAX},
        {{{":method", "CONNECT"}, {":protocol", "websocket"}}, 0, -ERR_SYNTAX},
        {{{":method", "C O"}, {":scheme", "https"}, {":path", "/"}}, 0, -ERR_SYNTAX},
        {{{":method", ""}}, 0, -ERR_SYNTAX},
        {{{":authority", "10.0.0.1:80"}}, 0, -ERR_SYNTAX},
        {{{":method", "CONNECT"}, {":authority", ""}}, 0, -ERR_SYNTAX},
        {{{":method", "CONNECT"}, {":authority", "a b:1"}}, 0, -ERR_SYNTAX},
        {{{":method", "CONNECT"}, {":authority", "a:1/x"}}, 0, -ERR_SYNTAX},
        {{{":method", "CONNECT"}, {":authority", "a:1"}, {":authority", "a:1"}}, 0, -ERR_SYNTAX},
        {{{":method", "CONNECT"}, {":method", "CONNECT"}}, 0, -ERR_SYNTAX},
        {{{":method", "CONNECT"}, {"x", "1"}, {":authority", "a:1"}}, 0, -ERR_SYNTAX},
        {{{":method", "CONNECT"}, {":status", "200"}}, 0, -ERR_SYNTAX},
        {{{":method", "CONNECT"}, {"connection", "close"}}, 0, -ERR_SYNTAX},
        {{{":method", "CONNECT"}, {"transfer-encoding", "chunked"}}, 0, -ERR_SYNTAX},
        {{{":method", "CONNECT"}, {"keep-alive", "1"}}, 0, -ERR_SYNTAX},
        {{{":method", "CONNECT"}, {"proxy-connection", "1"}}, 0, -ERR_SYNTAX},
        {{{":method", "CONNECT"}, {"upgrade", "h2c"}}, 0, -ERR_SYNTAX},
        {{{":method", "CONNECT"}, {"te", "trailers"}}, 0, 0},
        {{{":method", "CONNECT"}, {"te", "gzip"}}, 0, -ERR_SYNTAX},
        {{{":method", "CONNECT"}, {"host", "other.example"}}, 0, 0},
        {{{":method", "CONNECT"}, {"host", "a"}, {"host", "a"}}, 0, -ERR_SYNTAX},
        {{{":method", "CONNECT"}, {"content-length", "5"}}, 0, 0},
        {{{":method", "CONNECT"}, {"content-length", "5x"}}, 0, -ERR_SYNTAX},
        {{{":method", "CONNECT"}, {"content-length", "5"}, {"content-length", "5"}},
         0,
         -ERR_SYNTAX},
        {{{":method", "CONNECT"}, {"x", "tab\tand \xc3\xa4"}}, 0, 0},
        {{{":method", "CONNECT"}, {"x", " a"}}, 0, -ERR_SYNTAX},
        {{{":method", "CONNECT"}, {"baggage", "a=b "}}, 0, -ERR_SYNTAX},
        {{{":method", "CONNECT"}, {"forwarded", "\ta"}}, 0, -ERR_SYNTAX},
        {{{":method", "CONNECT"}, {"x", " "}}, 0, -ERR_SYNTAX},
        {{{":method", "CONNECT"}, {"x", "a\nb"}}, -ERR_H2_PROTOCOL, 0},
        {{{":method", "CONNECT"}, {"x", "a\x7f"}}, -ERR_H2_PROTOCOL, 0},
        {{{":method", "CONNECT"}, {"Upper", "a"}}, -ERR_H2_PROTOCOL, 0},
        {{{":method", "CONNECT"}, {"a b", "a"}}, -ERR_H2_PROTOCOL, 0},
        {{{":method", "CONNECT"}, {"", "a"}}, -ERR_H2_PROTOCOL, 0},
        {{{":method", "CONNECT"}, {":foo", "a"}}, -ERR_H2_PROTOCOL, 0},
        {{{NULL, NULL}}, 0, -ERR_SYNTAX},
},
  responses[] =
      {
          {{{":status", "200"}}, 0, 0},
          {{{":status", "200"}, {"content-length", "0"}, {"baggage", "a=b"}}, 0, 0},
          {{{":status", "100"}}, 0, 0},
          {{{":status", "999"}}, 0, 0},
          {{{":status", "101"}}, 0, -ERR_SYNTAX},
          {{{":status", "099"}}, 0, -ERR_SYNTAX},
          {{{":status", "20"}}, 0, -ERR_SYNTAX},
          {{{":status", "2x0"}}, 0, -ERR_SYNTAX},
          {{{":status", ""}}, 0, -ERR_SYNTAX},
          {{{":status", "200"}, {":status", "200"}}, 0, -ERR_SYNTAX},
          {{{"x", "y"}, {":status", "200"}}, 0, -ERR_SYNTAX},
          {{{":status", "200"}, {":path", "/"}}, 0, -ERR_SYNTAX},
          {{{"x", "y"}}, 0, -ERR_SYNTAX},
},
  trailers[] = {
      {{{"x", "y"}}, 0, 0},
      {{{NULL, NULL}}, 0, 0},
      {{{":status", "200"}}, 0, -ERR_SYNTAX},
      {{{"connection", "close"}}, 0, -ERR_SYNTAX},
};

static int add(struct headers *h, const char *name, const char *value)
{
    struct hpack_field f = {slice_of(name), slice_of(value)};

    return headers_add(h, &f);
}

static int add_all(struct headers *h, const char *const fields[FIELDS][2])
{
    int r = 0;

    for (int i = 0; i < FIELDS && fields[i][0] && r == 0; i++) {
        r = add(h, fields[i][0], fields[i][1]);
    }
    return r;
}

static void check_table(struct test *t, enum headers_kind kind, const void *table, size_t count)
{
    const __typeof__(requests[0]) *rows = table;

    for (size_t i = 0; i < count; i++) {
        struct headers h;

        headers_init(&h, kind, LIMIT);
        int added = add_all(&h, rows[i].fields);
        int judged = headers_judge(&h);
        headers_fini(&h);
        if (added != rows[i].add || (added == 0 && judged != rows[i].judge)) {
            printf("# kind %d row %zu: %d %d\n", (int)kind, i, added, judged);
        }
        CHECK_INT(added, rows[i].add);
        CHECK(added < 0 || judged == rows[i].judge);
    }
}

TEST(messages_are_judged_by_their_fields)
{
    check_table(t, HEADERS_REQUEST, requests, ARRAY_LEN(requests));
    check_table(t, HEADERS_RESPONSE, responses, ARRAY_LEN(responses));
    check_table(t, HEADERS_TRAILERS, trailers, ARRAY_LEN(trailers));
}

TEST(lists_of_baggage_are_joined_and_the_first_of_the_others_counts)
{
    struct headers h;
    struct hbone_head head;

    headers_init(&h, HEADERS_REQUEST, LIMIT);
    CHECK_INT(add(&h, ":method", "CONNECT"), 0);
    CHECK_INT(add(&h, ":authority", "10.0.0.1:80"), 0);
    CHECK_INT(add(&h, "baggage", "a=1"), 0);
    CHECK_INT(add(&h, "baggage", "b=2"), 0);
    CHECK_INT(add(&h, "forwarded", "for=1"), 0);
    CHECK_INT(add(&h, "baggage", "c=3"), 0);
    CHECK_INT(add(&h, "traceparent", "00-1"), 0);
    CHECK_INT(add(&h, "forwarded", "for=2"), 0);
    CHECK_INT(add(&h, "x-forwarded-network", ""), 0);
    CHECK_INT(add(&h, "baggage", ""), 0);
    CHECK_INT(headers_judge(&h), 0);
    headers_head(&h, &h.text, &head);
    CHECK(slice_is(head.method, "CONNECT"));
    CHECK(slice_is(head.authority, "10.0.0.1:80"));
    CHECK(slice_is(head.baggage, "a=1,b=2,c=3,"));
    CHECK(slice_is(head.forwarded, "for=1"));
    CHECK(slice_is(head.traceparent, "00-1"));
    CHECK(head.network.p && head.network.len == 0);
    headers_fini(&h);
}

TEST(absent_is_not_empty)
{
    struct headers h;
    struct hbone_head head;

    headers_init(&h, HEADERS_REQUEST, LIMIT);
    CHECK_INT(add(&h, "baggage", ""), 0);
    headers_head(&h, &h.text, &head);
    CHECK(head.baggage.p && head.baggage.len == 0);
    CHECK(!head.authority.p && !head.forwarded.p && !head.network.p);
    headers_fini(&h);
}

/* However the lists are cut, memory stays a small multiple of the limit. */
TEST(a_list_over_its_limit_is_told_apart_and_costs_no_memory)
{
    struct headers h;

    headers_init(&h, HEADERS_REQUEST, LIMIT);
    CHECK_INT(add(&h, ":method", "CONNECT"), 0);
    for (int i = 0; i < 100000; i++) {
        CHECK_INT(add(&h, i % 3 ? "baggage" : "x", "0123456789"), 0);
    }
    CHECK_INT(headers_judge(&h), -ERR_TOO_LARGE);
    CHECK(h.text.room <= 6 * LIMIT);
    headers_fini(&h);
    headers_init(&h, HEADERS_REQUEST, 100000);
    CHECK_INT(add(&h, ":method", "CONNECT"), 0);
    for (int i = 0; i < 2000; i++) {
        CHECK_INT(add(&h, "baggage", "0123456789"), 0);
    }
    CHECK_INT(headers_judge(&h), 0);
    headers_fini(&h);
}

TEST(what_is_asked_is_what_was_recorded)
{
    struct bytes out;
    struct hbone_head head = {.authority = slice_of("10.244.2.103:9002"),
                              .baggage = slice_of("k=v"),
                              .forwarded = slice_of("for=\"1.2.3.4:5\""),
                              .traceparent = slice_of("00-1"),
                              .network = slice_of("")};
    static const char *const want[][2] = {
        {":method", "CONNECT"},  {":authority", "10.244.2.103:9002"},
        {"baggage", "k=v"},      {"forwarded", "for=\"1.2.3.4:5\""},
        {"traceparent", "00-1"}, {"x-forwarded-network", ""}};
    AUTO(hpack_decoder) struct hpack_decoder *d = hpack_decoder_new();
    struct hpack_field f;

    bytes_init(&out, 1000);
    CHECK_INT(headers_put_connect(&out, &head), 0);
    struct slice at = {(const char *)bytes_peek(&out), out.len};
    for (size_t i = 0; i < ARRAY_LEN(want); i++) {
        CHECK_INT(hpack_next(d, &at, true, &f), 1);
        CHECK(slice_is(f.name, want[i][0]));
        CHECK(slice_is(f.value, want[i][1]));
    }
    CHECK_INT(hpack_next(d, &at, true, &f), 0);
    bytes_fini(&out);
    bytes_init(&out, 20);
    CHECK_INT(headers_put_connect(&out, &head), -ERR_TOO_LARGE);
    bytes_fini(&out);
}
