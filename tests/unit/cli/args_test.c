/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/args.h"

#include <string.h>

#include "cli/near.h"
#include "cli/wrap.h"
#include "t.h"

static const struct arg_option first[] = {
    {"follow", 'f', ARG_FLAG, NULL, NULL, "go on"},
    {"output", 'o', ARG_CHOICE, "table|json", "table", "how to print it"},
    {"label", 'l', ARG_LIST, "KEY=VALUE", NULL, "a label"},
    {0}};
static const struct arg_option second[] = {{"last", 0, ARG_NUMBER, "N", NULL, "only N"},
                                           {"timeout", 't', ARG_DURATION, "TIME", "5s", "time"},
                                           {"namespace", 'n', ARG_TEXT, "NAME", NULL, "where"},
                                           {0}};
static const struct arg_option *const tables[] = {first, second, NULL};

enum { WORDS_MAX = 8 };

static int parse(struct args *a, bool keep_rest, const char *const *words, struct diag *why)
{
    static char copies[WORDS_MAX][32];
    static char *argv[WORDS_MAX];
    int argc = 0;

    for (; words[argc]; argc++) {
        (void)snprintf(copies[argc], sizeof(copies[argc]), "%s", words[argc]);
        argv[argc] = copies[argc];
    }
    return args_parse(a, tables, keep_rest, argc, argv, why);
}

TEST(options_mean_the_same_however_they_are_written)
{
    static const char *const ways[][WORDS_MAX] = {
        {"-n", "shop", "-o", "json", "-f", "x"},
        {"-nshop", "-o=json", "-f", "x"},
        {"x", "-fojson", "-n", "shop"},
        {"--namespace", "shop", "--output=json", "--follow", "x"},
        {"--namespace=shop", "x", "-fo", "json"},
    };

    for (size_t i = 0; i < ARRAY_LEN(ways); i++) {
        struct args a;
        struct diag why = {0};
        CHECK_INT(parse(&a, false, ways[i], &why), 0);
        CHECK_STR(args_text(&a, "namespace"), "shop");
        CHECK_STR(args_text(&a, "output"), "json");
        CHECK(args_has(&a, "follow"));
        CHECK_INT(a.operand_count, 1);
        CHECK_STR(a.operands[0], "x");
    }
}

TEST(what_is_wrong_is_named_and_guessed)
{
    static const struct {
        const char *words[WORDS_MAX];
        const char *said;
    } rows[] = {
        {{"--folow"}, "no option --folow; did you mean --follow?"},
        {{"--quite-different"}, "no option --quite-different"},
        {{"-x"}, "no option -x"},
        {{"--follow=1"}, "--follow takes no value"},
        {{"--output"}, "--output needs a value: table|json"},
        {{"-o"}, "-o needs a value: table|json"},
        {{"--output", "yaml"}, "--output: yaml is not one of table|json"},
        {{"--output", "tabl"}, "--output: tabl is not one of table|json"},
        {{"--output", ""}, "--output:  is not one of table|json"},
        {{"--last", "-1"}, "--last: -1 is no number"},
        {{"--last", "4294967296"}, "--last: 4294967296 is no number"},
        {{"-t", "soon"}, "--timeout: soon is no time; write 30s or 2m"},
        {{"-t", "0"}, "--timeout: 0 leaves no time at all; write 30s or 2m"},
        {{"--timeout=0ms"}, "--timeout: 0ms leaves no time at all; write 30s or 2m"},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct args a;
        struct diag why = {0};
        CHECK_INT(parse(&a, false, rows[i].words, &why), -ERR_SYNTAX);
        CHECK_STR(why.text, rows[i].said);
    }
}

TEST(the_last_of_repeated_options_wins_and_lists_keep_all)
{
    static const char *const words[] = {"-l", "a=1", "--last", "1", "-lb=2", "--last=20", NULL};
    struct args a;

    CHECK_INT(parse(&a, false, words, NULL), 0);
    CHECK_INT(args_number(&a, "last"), 20);
    CHECK_STR(args_item(&a, "label", 0), "a=1");
    CHECK_STR(args_item(&a, "label", 1), "b=2");
    CHECK(!args_item(&a, "label", 2));
    CHECK_INT(args_ms(&a, "timeout"), 5000);
    CHECK(!args_text(&a, "namespace"));
    CHECK(args_knows(&a, "namespace") && !args_knows(&a, "nothing"));
}

TEST(behind_two_dashes_nothing_is_an_option)
{
    static const char *const words[] = {"a", "--", "-f", "--last", NULL};
    struct args a;

    CHECK_INT(parse(&a, false, words, NULL), 0);
    CHECK_INT(a.operand_count, 3);
    CHECK_STR(a.operands[1], "-f");
    CHECK_INT(parse(&a, true, words, NULL), 0);
    CHECK_INT(a.operand_count, 1);
    CHECK_INT(a.rest_count, 2);
    CHECK_STR(a.rest[1], "--last");
    CHECK(!args_has(&a, "follow"));
}

TEST(more_options_than_there_is_room_for_are_refused)
{
    static char word[] = "-f";
    char *argv[ARGS_OPTIONS_MAX + 1];
    struct args a;

    for (size_t i = 0; i < ARRAY_LEN(argv); i++) {
        argv[i] = word;
    }
    CHECK_INT(args_parse(&a, tables, false, ARGS_OPTIONS_MAX, argv, NULL), 0);
    CHECK_INT(args_parse(&a, tables, false, ARGS_OPTIONS_MAX + 1, argv, NULL), -ERR_SYNTAX);
}

TEST(help_is_written_from_the_same_rows)
{
    AUTO(strbuf) struct strbuf b = {0};

    args_help(first, &b);
    CHECK_STR(strbuf_text(&b), "  -f, --follow              go on\n"
                               "  -o, --output table|json   how to print it (default table)\n"
                               "  -l, --label KEY=VALUE     a label (may be repeated)\n");
}

TEST(words_that_are_near_are_found)
{
    static const struct {
        const char *a;
        const char *b;
        unsigned distance;
    } rows[] = {{"", "", 0},          {"", "abc", 3},        {"status", "stauts", 1},
                {"conns", "cons", 1}, {"label", "table", 2}, {"kitten", "sitting", 3},
                {"ab", "ba", 1}};

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        CHECK_INT(near_distance(rows[i].a, rows[i].b), rows[i].distance);
        CHECK_INT(near_distance(rows[i].b, rows[i].a), rows[i].distance);
    }
    CHECK_STR(near_best("staus", NULL, "status"), "status");
    CHECK_STR(near_best("staus", "status", "stats"), "status");
    CHECK(!near_best("ps", NULL, "up"));
    CHECK(!near_best("conns", NULL, "certs"));
    CHECK(!near_best("bogus", NULL, "logs"));
    CHECK_STR(near_best("servicse", NULL, "services"), "services");
}

TEST(text_is_wrapped_at_words)
{
    AUTO(strbuf) struct strbuf b = {0};

    wrap_text("one two three\n\nfour-and-more five", 2, 11, &b);
    CHECK_STR(strbuf_text(&b), "  one two\n  three\n\n  four-and-more\n  five\n");
    strbuf_clear(&b);
    wrap_columns("left", "some words", 6, 12, &b);
    wrap_columns("too long", "x", 6, 12, &b);
    CHECK_STR(strbuf_text(&b), "left  some\n      words\ntoo long\n      x\n");
}
