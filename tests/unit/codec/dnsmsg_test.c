/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/dnsmsg.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/num.h"
#include "base/str.h"
#include "codec/json.h"
#include "t.h"

struct blob {
    uint8_t p[1024];
    size_t len;
};

static void from_hex(struct blob *b, const char *hex)
{
    b->len = strlen(hex) / 2;
    for (size_t i = 0; i < b->len && i < sizeof(b->p); i++) {
        char pair[3] = {hex[2 * i], hex[2 * i + 1], '\0'};
        b->p[i] = (uint8_t)strtoul(pair, NULL, 16);
    }
}

static struct json *load(const char *path)
{
    size_t len;
    AUTO(text) char *text = test_vector(path, &len);
    struct json *j = NULL;

    return json_parse(&j, text, len, NULL, NULL) < 0 ? NULL : j;
}

/* The recorded answer's records, written by us. */
static int write_recorded(struct dns_reply *r, const struct json *answers)
{
    int bad = 0;

    for (size_t i = 0; i < json_count(answers); i++) {
        struct json *a = json_item(answers, i);
        const char *owner = json_str_at(a, "name", "");
        const char *data = json_str_at(a, "data", "");
        uint32_t ttl = (uint32_t)json_int_at(a, "ttl", 0);
        struct ip ip;
        if (json_int_at(a, "type", 0) == DNS_CNAME) {
            bad |= dns_reply_add_cname(r, owner, ttl, data);
        } else if (ip_parse(&ip, data, strlen(data)) == 0) {
            bad |= dns_reply_add_ip(r, owner, ttl, &ip);
        }
    }
    return bad;
}

TEST(recorded_answers_are_rebuilt_byte_for_byte)
{
    AUTO(json) struct json *all = load("codec/dns-queries.json");
    unsigned local = 0, forwarded = 0, errors = 0, silent = 0;

    CHECK(all);
    for (size_t i = 0; i < json_count(all); i++) {
        struct json *c = json_item(all, i);
        const char *want_hex = json_str_at(c, "response_hex", NULL);
        struct blob ask, want;
        struct dns_request q;
        struct dns_reply r;
        uint8_t buf[1024];
        size_t n;
        printf("# %s\n", json_str_at(c, "what", ""));
        from_hex(&ask, json_str_at(c, "query_hex", ""));
        int parsed = dns_request_parse(&q, ask.p, ask.len);
        if (!want_hex) {
            /* no answer at all, or one too long to be recorded */
            bool expected = json_str_at(c, "error", NULL) != NULL;
            CHECK_INT(parsed, expected ? -ERR_SYNTAX : 0);
            silent += expected;
            continue;
        }
        CHECK_INT(parsed, 0);
        from_hex(&want, want_hex);
        CHECK_INT(dns_reply_begin(&r, &q, buf, MIN_OF(sizeof(buf), dns_request_udp_max(&q))), 0);
        if (dns_request_verdict(&q) != DNS_NOERROR) {
            n = dns_reply_error(&r, dns_request_verdict(&q));
            errors++;
        } else if (json_int_at(c, "aa", 0) == 1) {
            CHECK_INT(write_recorded(&r, json_get(c, "answer")), 0);
            n = dns_reply_end(&r);
            local++;
        } else {
            /* The recording is itself an answer: hand it on as upstream's. */
            struct dns_forwarded up;
            CHECK_INT(dns_forwarded_parse(&up, &q, q.id, want.p, want.len), 0);
            n = dns_reply_forwarded(&r, &up, want.p, 0);
            forwarded++;
        }
        CHECK_INT(n, want.len);
        CHECK_MEM(buf, want.p, n);
    }
    CHECK(local >= 30 && forwarded >= 20 && errors >= 4 && silent == 2);
}

TEST(upstream_is_asked_as_recorded)
{
    AUTO(json) struct json *all = load("codec/dns-queries.json");
    unsigned seen = 0;

    for (size_t i = 0; i < json_count(all); i++) {
        struct json *c = json_item(all, i);
        const char *want_hex = json_str(json_item(json_get(c, "upstream_hex"), 0), NULL);
        struct blob ask, want;
        struct dns_request q;
        uint8_t buf[512];
        if (!want_hex) {
            continue;
        }
        from_hex(&ask, json_str_at(c, "query_hex", ""));
        from_hex(&want, want_hex);
        CHECK_INT(dns_request_parse(&q, ask.p, ask.len), 0);
        uint16_t id = (uint16_t)(want.p[0] << 8 | want.p[1]);
        CHECK_INT(dns_forward_query(&q, id, buf, sizeof(buf)), want.len);
        CHECK_MEM(buf, want.p, want.len);
        seen++;
    }
    CHECK(seen >= 20);
}

static void write_query(struct blob *b, const char *label, unsigned payload)
{
    static const uint8_t rest[] = "\4shop\3svc\7cluster\5local\0\0\1\0\1";
    static const uint8_t head[12] = {0x12, 0x34, 1, 0, 0, 1};

    memcpy(b->p, head, sizeof(head));
    b->p[11] = payload > 0;
    b->p[12] = (uint8_t)strlen(label);
    memcpy(b->p + 13, label, strlen(label));
    b->len = 13 + strlen(label);
    memcpy(b->p + b->len, rest, sizeof(rest) - 1);
    b->len += sizeof(rest) - 1;
    if (payload > 0) {
        uint8_t opt[11] = {0, 0, 41, (uint8_t)(payload >> 8), (uint8_t)payload};
        memcpy(b->p + b->len, opt, sizeof(opt));
        b->len += sizeof(opt);
    }
}

/* Up to 90 addresses; beyond, the real one stops compressing and ours fits more. */
TEST(answers_are_cut_where_the_recorded_ones_are)
{
    AUTO(json) struct json *all = load("codec/dns-sizes.json");
    static uint8_t buf[DNS_MESSAGE_MAX];
    unsigned seen = 0, cut = 0;

    for (size_t i = 0; i < json_count(all); i++) {
        struct json *c = json_item(all, i);
        const char *how = json_str_at(c, "how", "");
        const char *edns = strstr(how, "EDNS ");
        unsigned addresses = (unsigned)json_int_at(c, "addresses", 0);
        struct blob ask;
        struct dns_request q;
        struct dns_reply r;
        char label[16];
        char owner[64];
        if (addresses > 90) {
            continue;
        }
        (void)snprintf(label, sizeof(label), "n%u", addresses);
        (void)snprintf(owner, sizeof(owner), "%s.shop.svc.cluster.local", label);
        write_query(&ask, label,
                    edns && edns[5] >= '1' ? (unsigned)strtoul(edns + 5, NULL, 10) : 0);
        CHECK_INT(dns_request_parse(&q, ask.p, ask.len), 0);
        CHECK_STR(q.name, owner);
        size_t most = strcmp(how, "TCP") == 0 ? DNS_MESSAGE_MAX : dns_request_udp_max(&q);
        CHECK_INT(dns_reply_begin(&r, &q, buf, most), 0);
        for (unsigned k = 0; k < addresses; k++) {
            struct ip ip = {.family = IP_V4, .bytes = {10, 0, 0, (uint8_t)k}};
            CHECK_INT(dns_reply_add_ip(&r, owner, 30, &ip), 0);
        }
        CHECK_INT(dns_reply_end(&r), json_int_at(c, "response_len", 0));
        CHECK_INT(buf[2] >> 1 & 1, json_int_at(c, "tc", -1));
        CHECK_INT(buf[6] << 8 | buf[7], json_int_at(c, "answers", -1));
        seen++;
        cut += buf[2] >> 1 & 1;
    }
    CHECK(seen == 42 && cut >= 6);
}

TEST(broken_messages_get_no_answer)
{
    static const char *const rows[] = {
        "",
        "123401000001000000000000",                     /* no question where one is said to be */
        "1234010000010000000000000377656200",           /* no type and class */
        "12340100000100000000000003776562c00c00010001", /* pointer to itself */
        "12340100000100000000000003776562c00000010001", /* pointer into the header */
        "12340100000100000000000003776562c0ff00010001", /* pointer forward */
        "12340100000100000000000043776562000001000100", /* label type 01 */
        "123401000001000000000000ff776562000001000100",
        "12340100000100000000000103776562000001000100002904d000", /* EDNS cut off */
        "12348100000100000000000003776562000001000100",           /* an answer */
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct blob b;
        struct dns_request q;
        from_hex(&b, rows[i]);
        CHECK_INT(dns_request_parse(&q, b.p, b.len), -ERR_SYNTAX);
    }
}

TEST(letters_of_a_name_become_small)
{
    struct blob b;
    struct dns_request q;

    write_query(&b, "AbYZ@[`{09", 0);
    CHECK_INT(dns_request_parse(&q, b.p, b.len), 0);
    CHECK_STR(q.name, "abyz\\064\\091\\096\\12309.shop.svc.cluster.local");
}

TEST(two_names_are_never_one)
{
    struct blob b;
    struct dns_request q;
    struct dns_reply r;
    uint8_t buf[512];
    struct ip ip = {.family = IP_V4, .bytes = {1, 2, 3, 4}};

    /* one label "a.B\0" and then "c": not the name "a.b" of anything */
    from_hex(&b, "1234010000010000000000000461"
                 "2e42000163000001"
                 "0001");
    CHECK_INT(dns_request_parse(&q, b.p, b.len), 0);
    CHECK_STR(q.name, "a\\046b\\000.c");
    CHECK_INT(dns_reply_begin(&r, &q, buf, sizeof(buf)), 0);
    CHECK_INT(dns_reply_add_ip(&r, q.name, 30, &ip), 0);
    CHECK_INT(dns_reply_end(&r), b.len + 8 + 14);
    CHECK_INT(buf[b.len + 1], 'a');
    CHECK_INT(buf[b.len + 2], '.');
    CHECK_INT(buf[b.len + 3], 'b');
    CHECK_INT(buf[b.len + 4], 0);
}

TEST(text_that_is_no_name_is_refused)
{
    struct blob b;
    struct dns_request q;
    struct dns_reply r;
    uint8_t buf[1024];
    struct ip ip = {.family = IP_V4};
    char label64[66], long_name[270];
    const char *const bad[] = {"a..b", ".a", label64, long_name, "a\\25", "a\\999", "."};

    memset(label64, 'x', 64);
    label64[64] = '\0';
    for (size_t i = 0; i < 256; i++) {
        long_name[i] = i % 4 == 3 ? '.' : 'x';
    }
    long_name[256] = '\0';
    write_query(&b, "n", 0);
    CHECK_INT(dns_request_parse(&q, b.p, b.len), 0);
    CHECK_INT(dns_reply_begin(&r, &q, buf, sizeof(buf)), 0);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        printf("# %zu\n", i);
        CHECK_INT(dns_reply_add_ip(&r, bad[i], 1, &ip), -ERR_SYNTAX);
    }
    long_name[251] = '\0'; /* 62 labels of 3 and one of 3: 253 bytes with the root */
    CHECK_INT(dns_reply_add_ip(&r, long_name, 1, &ip), 0);
    CHECK_INT(dns_reply_begin(&r, &q, buf, 20), -ERR_TOO_LARGE);
}

TEST(an_answer_to_another_question_is_not_taken)
{
    struct blob ask, answer;
    struct dns_request q;
    struct dns_forwarded up;

    write_query(&ask, "web", 0);
    CHECK_INT(dns_request_parse(&q, ask.p, ask.len), 0);
    answer = ask;
    answer.p[2] |= 0x80;
    CHECK_INT(dns_forwarded_parse(&up, &q, 0x1234, answer.p, answer.len), 0);
    CHECK_INT(up.count, 0);
    CHECK_INT(dns_forwarded_parse(&up, &q, 0x1235, answer.p, answer.len), -ERR_SYNTAX);
    answer.p[13] = 'W'; /* case does not matter */
    CHECK_INT(dns_forwarded_parse(&up, &q, 0x1234, answer.p, answer.len), 0);
    answer.p[13] = 'v';
    CHECK_INT(dns_forwarded_parse(&up, &q, 0x1234, answer.p, answer.len), -ERR_SYNTAX);
    answer.p[13] = 'w';
    answer.p[15] = 'c'; /* the last letter counts like the others */
    CHECK_INT(dns_forwarded_parse(&up, &q, 0x1234, answer.p, answer.len), -ERR_SYNTAX);
    answer.p[15] = 'b';
    answer.p[answer.len - 3] = 28;
    CHECK_INT(dns_forwarded_parse(&up, &q, 0x1234, answer.p, answer.len), -ERR_SYNTAX);
    CHECK_INT(dns_forwarded_parse(&up, &q, 0x1234, ask.p, ask.len), -ERR_SYNTAX);
}

TEST(forwarded_records_age_and_are_cut_between_records)
{
    struct blob ask, answer;
    struct dns_request q;
    struct dns_reply r;
    struct dns_forwarded up;
    uint8_t buf[512];
    static const uint8_t record[] = {0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 1, 2, 3, 4};

    write_query(&ask, "web", 0);
    CHECK_INT(dns_request_parse(&q, ask.p, ask.len), 0);
    answer = ask;
    answer.p[2] |= 0x80;
    answer.p[7] = 3;
    for (int i = 0; i < 3; i++) {
        memcpy(answer.p + answer.len, record, sizeof(record));
        answer.len += sizeof(record);
    }
    CHECK_INT(dns_forwarded_parse(&up, &q, q.id, answer.p, answer.len), 0);
    CHECK_INT(up.count, 3);
    CHECK_INT(up.ttl_s, 60);
    CHECK_INT(dns_reply_begin(&r, &q, buf, ask.len + 2 * sizeof(record) + 15), 0);
    CHECK_INT(dns_reply_forwarded(&r, &up, answer.p, 45), ask.len + 2 * sizeof(record));
    CHECK_INT(buf[7], 2);
    CHECK_INT(buf[2] >> 1 & 1, 1);
    CHECK_INT(buf[ask.len + 9], 15);
    CHECK_INT(dns_reply_begin(&r, &q, buf, sizeof(buf)), 0);
    CHECK_INT(dns_reply_forwarded(&r, &up, answer.p, 100), answer.len);
    CHECK_INT(buf[ask.len + 9], 0);
    CHECK_INT(dns_forwarded_parse(&up, &q, q.id, answer.p, answer.len - 1), -ERR_SYNTAX);
    /* A name that points into a TTL reads otherwise once that has aged: no answer, no records. */
    answer.p[ask.len + 7] = 1; /* TTL 0x00010000: its third byte is the root */
    answer.p[ask.len + 9] = 0;
    answer.p[ask.len + sizeof(record) + 1] = (uint8_t)(ask.len + 8);
    CHECK_INT(dns_forwarded_parse(&up, &q, q.id, answer.p, answer.len), 0);
    CHECK_INT(dns_reply_begin(&r, &q, buf, sizeof(buf)), 0);
    CHECK_INT(dns_reply_forwarded(&r, &up, answer.p, 0), answer.len);
    CHECK_INT(dns_reply_begin(&r, &q, buf, sizeof(buf)), 0);
    CHECK_INT(dns_reply_forwarded(&r, &up, answer.p, 1), ask.len);
    CHECK_INT(buf[3] & 15, DNS_SERVFAIL);
    CHECK_INT(buf[7], 0);
}
