/* SPDX-License-Identifier: Apache-2.0 */
#include "model/l7_regex.h"

#include <string.h>

#include "t.h"

TEST(what_re2_does_not_have_is_refused)
{
    static const char *const bad[] = {
        "(a)\\1",
        "\\g1",
        "\\k<n>",
        "(?=a)",
        "(?!a)",
        "(?<=a)b",
        "(?<!a)b",
        "(?>a)",
        "a*+",
        "a++",
        "a?+",
        "a{2}+",
        "(?R)",
        "(?1)",
        "(?&n)",
        "(?P>n)",
        "(?P=n)",
        "(?(1)a|b)",
        "(?|a|b)",
        "(?C1)",
        "(?#x)",
        "(*UTF)a",
        "(*FAIL)",
        "\\Ga",
        "a\\Kb",
        "\\R",
        "\\X",
        "\\N",
        "\\H",
        "\\h",
        "\\v",
        "\\Z",
        "\\C",
        "a**",
        "a{1001}",
        "(a",
        "a)",
        "[a",
        "*a",
        "a\\",
        "[[.a.]]",
        "[\\b]",
        "(?x)a",
        "(?J)a",
        "(?<n",
        "[z-a]",
        "\\e",
        "\\cA",
        "\\o{101}",
        "a{0,1001}",
        "(?^)a",
        "(?i",
        "(a{100}){11}",
        "((a{10}b){10}){11}",
        "((a|b{20})c){51}",
        "a{1}{2}+",
    };

    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        AUTO(l7_regex) const struct l7_regex *x = NULL;
        struct diag why = {.code = 0};
        int r = l7_regex_new(&x, bad[i], &why);
        if (r >= 0 || !strstr(why.text, "regular expression at byte")) {
            test_fail(t, __FILE__, __LINE__, bad[i]);
            return;
        }
    }
}

TEST(what_re2_has_matches_whole_subjects)
{
    static const struct {
        const char *pattern;
        const char *subject;
        int want;
    } rows[] = {
        {"a|ab", "ab", 1},
        {"a|ab", "abc", 0},
        {"", "", 1},
        {"", "a", 0},
        {"/v[0-9]+/.*", "/v1/", 1},
        {"/v[0-9]+/.*", "/v/x", 0},
        {"(?i)abc", "ABC", 1},
        {"(?i:a)b", "AB", 0},
        {"(?P<n>a)b", "ab", 1},
        {"(?<n>a)b", "ab", 1},
        {"a{2,3}?", "aaa", 1},
        {"a{2,3}", "aaaa", 0},
        {"a{,3}", "a{,3}", 1},
        {"\\Qa.b\\E", "a.b", 1},
        {"\\Qa.b\\E", "axb", 0},
        {"[[:alpha:]]+", "abc", 1},
        {"[^/]+", "a/b", 0},
        {"[]a]+", "]a", 1},
        {"[\\]a]+", "]a", 1},
        {"\\pL+", "ab", 1},
        {"\\x{61}", "a", 1},
        {"a.c", "a\nc", 0},
        {"(?s)a.c", "a\nc", 1},
        {"a$", "a\n", 0},
        {"a$\n", "a\n", 0},
        {"^a$", "a", 1},
        {"\\Aa\\z", "a", 1},
        {"\\bab\\b", "ab", 1},
        {"a.b",
         "a\xc3\xa9"
         "b",
         1},
        {"(?U)a+", "aaa", 1},
        {"\\.\\/\\-", "./-", 1},
        {"a{1000}", "a", 0},
        {"(a{2}){3}", "aaaaaa", 1},
        {"(a{10}b){10}(a{10}){100}", "", 0},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        AUTO(l7_regex) const struct l7_regex *x = NULL;
        struct diag why = {.code = 0};
        CHECK_STR(l7_regex_new(&x, rows[i].pattern, &why) < 0 ? why.text : "", "");
        if (l7_regex_match(x, slice_of(rows[i].subject)) != rows[i].want) {
            test_fail(t, __FILE__, __LINE__, rows[i].pattern);
            return;
        }
    }
}

TEST(a_match_has_an_end)
{
    AUTO(l7_regex) const struct l7_regex *x = NULL;
    static char subject[L7_REGEX_SUBJECT_MAX + 1];
    char pattern[L7_REGEX_PATTERN_MAX + 2];

    CHECK_INT(l7_regex_new(&x, "(a+)+(a+)+[bc]", NULL), 0);
    memset(subject, 'a', sizeof(subject));
    CHECK_INT(l7_regex_match(x, (struct slice){subject, 64}), -ERR_LIMIT);
    CHECK_INT(l7_regex_match(x, (struct slice){subject, 16}), -ERR_LIMIT);
    CHECK_INT(l7_regex_match(x, (struct slice){subject, 4}), 0);
    CHECK_INT(l7_regex_match(x, (struct slice){subject, sizeof(subject)}), -ERR_LIMIT);
    memset(pattern, 'a', sizeof(pattern));
    pattern[sizeof(pattern) - 1] = '\0';
    AUTO(l7_regex) const struct l7_regex *y = NULL;
    CHECK_INT(l7_regex_new(&y, pattern, NULL), -ERR_TOO_LARGE);
}

TEST(bytes_that_are_no_utf8_do_not_stop_it)
{
    AUTO(l7_regex) const struct l7_regex *x = NULL;

    CHECK_INT(l7_regex_new(&x, "/a.*", NULL), 0);
    CHECK_INT(l7_regex_match(x, slice_of("/a\xff/b")), 0); /* '.' is a character, \xff is none */
    CHECK_INT(l7_regex_match(x, slice_of("/a/b")), 1);
}
