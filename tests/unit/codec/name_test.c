/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/name.h"

#include "base/auto.h"
#include "t.h"

TEST(a_name_follows_its_rule)
{
    static const struct {
        enum name_rule rule;
        const char *name;
        bool good;
    } cases[] = {
        {NAME_SUBDOMAIN, "a", true},
        {NAME_SUBDOMAIN, "a.b-c.d1", true},
        {NAME_SUBDOMAIN, "", false},
        {NAME_SUBDOMAIN, ".a", false},
        {NAME_SUBDOMAIN, "a.", false},
        {NAME_SUBDOMAIN, "a..b", false},
        {NAME_SUBDOMAIN, "a.-b", false},
        {NAME_SUBDOMAIN, "a-.b", false},
        {NAME_SUBDOMAIN, "A", false},
        {NAME_SUBDOMAIN, "a/b", false},
        {NAME_LABEL, "a-b", true},
        {NAME_LABEL, "1a", true},
        {NAME_LABEL, "a.b", false},
        {NAME_LABEL, "-a", false},
        {NAME_LABEL, "a-", false},
        {NAME_LABEL, "", false},
        {NAME_LABEL_1035, "a1", true},
        {NAME_LABEL_1035, "-a", false},
        {NAME_LABEL_1035, "1a", false},
        {NAME_PATH_SEGMENT, "A:b", true},
        {NAME_PATH_SEGMENT, "..", false},
        {NAME_PATH_SEGMENT, "a/b", false},
        {NAME_PATH_SEGMENT, "", false},
        {NAME_LABEL, "a23456789012345678901234567890123456789012345678901234567890123", true},
        {NAME_LABEL, "a234567890123456789012345678901234567890123456789012345678901234", false},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        CHECK_STR(name_problem(cases[i].rule, cases[i].name) ? cases[i].name : "",
                  cases[i].good ? "" : cases[i].name);
    }
}

TEST(a_key_is_a_word_behind_a_domain_or_alone)
{
    static const char *const good[] = {"a", "A_b.c-1", "example.com/Role", "a/b"};
    static const char *const bad[] = {"", "-a", "a-", "/a", "a/", "A/b", "a..b/c", "a/b/c", "a b"};

    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        CHECK_STR(name_key_problem(good[i]) ? good[i] : "", "");
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        CHECK_STR(name_key_problem(bad[i]) ? "refused" : bad[i], "refused");
    }
}

TEST(the_value_of_a_label_may_be_empty)
{
    CHECK(!name_value_problem(""));
    CHECK(!name_value_problem("v1.2_b"));
    CHECK(name_value_problem("a/b"));
    CHECK(name_value_problem(".a"));
}
