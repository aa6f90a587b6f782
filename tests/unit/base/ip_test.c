/* SPDX-License-Identifier: Apache-2.0 */
#include "base/ip.h"

#include <string.h>

#include "t.h"

static int parse(struct endpoint *e, const char *s)
{
    return endpoint_parse(e, s, strlen(s));
}

TEST(endpoints_print_as_they_were_read)
{
    static const char *const good[] = {"10.0.0.1:80", "[fd00::1]:65535", "0.0.0.0:0",
                                       "255.100.10.249:10000"};
    struct endpoint e;
    char text[ENDPOINT_TEXT];

    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        CHECK_INT(parse(&e, good[i]), 0);
        CHECK_STR(endpoint_format(&e, text), good[i]);
    }
}

TEST(prefixes_print_as_they_were_read)
{
    static const char *const good[] = {"10.0.0.0/8", "192.168.100.254/32", "::/0", "fc00::/7",
                                       "2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff/128"};
    struct ip_prefix p;
    char text[IP_PREFIX_TEXT];

    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        CHECK_INT(ip_prefix_parse(&p, good[i], strlen(good[i])), 0);
        CHECK_STR(ip_prefix_format(&p, text), good[i]);
    }
}

TEST(what_is_not_an_endpoint_is_refused)
{
    static const char *const bad[] = {
        "",           "10.0.0.1",      "10.0.0.1:", ":80",       "10.0.0.1:x",  "10.0.0.1:65536",
        "fd00::1:80", "[10.0.0.1]:80", "host:80",   "[fd00::1]", "10.0.0.1:+1", "10.0.0.01:80"};
    struct endpoint e;

    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        if (parse(&e, bad[i]) == 0) {
            test_fail(t, __FILE__, __LINE__, bad[i]);
        }
    }
}

TEST(a_mapped_address_is_the_ipv4_address)
{
    struct ip a;
    struct ip b;

    CHECK_INT(ip_parse(&a, "::ffff:10.1.2.3", 15), 0);
    CHECK_INT(ip_parse(&b, "10.1.2.3", 8), 0);
    CHECK(ip_equal(&a, &b));
}

TEST(prefixes_hold_what_they_cover_and_nothing_else)
{
    static const struct {
        const char *prefix;
        const char *ip;
        bool in;
    } rows[] = {
        {"10.1.0.0/16", "10.1.255.255", true}, {"10.1.0.0/16", "10.2.0.0", false},
        {"10.1.2.3/9", "10.127.0.1", true},    {"10.1.2.3/9", "10.128.0.1", false},
        {"0.0.0.0/0", "1.2.3.4", true},        {"0.0.0.0/0", "::1", false},
        {"fd00::/8", "fdff::1", true},         {"fd00::1", "fd00::2", false},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct ip_prefix p;
        struct ip ip;
        CHECK_INT(ip_prefix_parse(&p, rows[i].prefix, strlen(rows[i].prefix)), 0);
        CHECK_INT(ip_parse(&ip, rows[i].ip, strlen(rows[i].ip)), 0);
        CHECK_INT(ip_prefix_has(&p, &ip), rows[i].in);
    }
    struct ip_prefix p;
    CHECK(ip_prefix_parse(&p, "10.0.0.0/33", 11) < 0);
    CHECK(ip_prefix_parse(&p, "10.0.0.0/", 9) < 0);
}

TEST(socket_addresses_survive_the_round_trip)
{
    static const char *const all[] = {"10.0.0.1:80", "[fd00::1]:443"};

    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        struct endpoint e;
        struct endpoint back;
        struct sockaddr_storage ss;
        CHECK_INT(parse(&e, all[i]), 0);
        CHECK(endpoint_to_sockaddr(&e, &ss) > 0);
        CHECK_INT(endpoint_from_sockaddr(&back, &ss), 0);
        CHECK(endpoint_equal(&e, &back));
    }
}
