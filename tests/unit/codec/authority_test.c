/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/authority.h"

#include "t.h"

TEST(authorities_are_told_apart)
{
    static const struct {
        const char *text;
        int result;
        const char *ip; /* "" for a hostname */
        const char *host;
        unsigned port;
    } rows[] = {
        {"10.244.2.11:9002", 0, "10.244.2.11", "10.244.2.11", 9002},
        {"[fd44:2::11]:9002", 0, "fd44:2::11", "[fd44:2::11]", 9002},
        {"web.shop.svc.cluster.local:82", 0, "", "web.shop.svc.cluster.local", 82},
        {":9002", 0, "", "", 9002},
        {"user@10.244.2.11:9002", 0, "", "10.244.2.11", 9002},
        {"10.244.2.11:0", 0, "10.244.2.11", "10.244.2.11", 0},
        {"10.244.2.11:65535", 0, "10.244.2.11", "10.244.2.11", 65535},
        {"010.1.1.1:80", 0, "", "010.1.1.1", 80},
        {"1.2.3:80", 0, "", "1.2.3", 80},
        {"[1.2.3.4]:80", 0, "", "[1.2.3.4]", 80},
        {"[x]:80", 0, "", "[x]", 80},
        {"10.244.2.11", -ERR_AUTHORITY, "", "", 0},
        {"web.shop", -ERR_AUTHORITY, "", "", 0},
        {"10.244.2.11:", -ERR_AUTHORITY, "", "", 0},
        {"10.244.2.11:65536", -ERR_AUTHORITY, "", "", 0},
        {"10.244.2.11:http", -ERR_AUTHORITY, "", "", 0},
        {"10.244.2.11:-1", -ERR_AUTHORITY, "", "", 0},
        {"10.244.2.11:+1", -ERR_AUTHORITY, "", "", 0},
        {"[::1]", -ERR_AUTHORITY, "", "", 0},
        {"[::ffff:10.244.2.11]:9002", -ERR_AUTHORITY, "", "", 0},
        {"", -ERR_SYNTAX, "", "", 0},
        {"10.244.2.11:9002/x", -ERR_SYNTAX, "", "", 0},
        {"a b:80", -ERR_SYNTAX, "", "", 0},
        {"a\x7f:80", -ERR_SYNTAX, "", "", 0},
        {"a:80\n", -ERR_SYNTAX, "", "", 0},
        {"a:b:80", -ERR_SYNTAX, "", "", 0},
        {"a@b@c:80", -ERR_SYNTAX, "", "", 0},
        {"::1:80", -ERR_SYNTAX, "", "", 0},
        {"[::1:80", -ERR_SYNTAX, "", "", 0},
        {"[::1]x:80", -ERR_SYNTAX, "", "", 0},
        {"a[b]:80", -ERR_SYNTAX, "", "", 0},
        {"caf\xc3\xa9:80", -ERR_SYNTAX, "", "", 0},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct authority a = {.port = 1};
        char text[IP_TEXT] = "";
        printf("# %s\n", rows[i].text);
        CHECK_INT(authority_parse(&a, rows[i].text, strlen(rows[i].text)), rows[i].result);
        if (rows[i].result < 0) {
            continue;
        }
        CHECK_INT(a.port, rows[i].port);
        CHECK(slice_is(a.host, rows[i].host));
        CHECK_STR(a.ip.family != IP_NONE ? ip_format(&a.ip, text) : "", rows[i].ip);
    }
}

TEST(an_overlong_authority_is_none)
{
    static char text[AUTHORITY_MAX + 2];
    struct authority a;

    memset(text, 'a', sizeof(text) - 1);
    CHECK_INT(authority_parse(&a, text, sizeof(text) - 1), -ERR_SYNTAX);
}

TEST(a_formatted_authority_reads_back)
{
    static const struct {
        const char *host, *want;
    } rows[] = {{"a.b", "a.b:443"}, {"1.2.3.4", "1.2.3.4:443"}, {"::1", "[::1]:443"}};
    char buf[AUTHORITY_TEXT];

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        CHECK_STR(authority_format(rows[i].host, 443, buf), rows[i].want);
    }
}
