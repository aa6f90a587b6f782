/* SPDX-License-Identifier: Apache-2.0 */
/* Which rule a request meets: the tables of the Gateway API's conformance tests, each looked up in a
 * short table and again among so many other rules that the table is indexed. */
#include "model/l7_table.h"

#include <string.h>

#include "base/mem.h"
#include "base/rand.h"
#include "l7_lab.h"
#include "t.h"

enum { FILLERS = 40 };

struct probe {
    const char *line;
    const char *headers;
    const char *target; /* "" nothing: 404 */
};

static const struct l7_table *crowded(const struct lab_rule *rules, size_t count)
{
    struct lab_rule *all = mem_array(count + FILLERS, sizeof(*all));
    static char paths[FILLERS][32];

    memcpy(all, rules, count * sizeof(*all));
    for (size_t i = 0; i < FILLERS; i++) {
        (void)snprintf(paths[i], sizeof(paths[i]), "%s/filler/%zu", i % 2 ? "=" : "", i);
        all[count + i] = (struct lab_rule){.matches = paths[i], .backend = "filler"};
    }
    const struct l7_table *t = lab_table(all, count + FILLERS);
    mem_free(all);
    return t;
}

static bool answers(struct test *t, const struct l7_table *table, const struct probe *p)
{
    struct lab_request r;

    lab_request(&r, p->line, p->headers);
    struct l7_hit hit = l7_table_find(table, &r.q);
    return test_str(t, __FILE__, __LINE__, p->line, lab_target(&hit), p->target);
}

static void check_all(struct test *t, const struct lab_rule *rules, size_t rule_count,
                      const struct probe *probes, size_t probe_count)
{
    AUTO(l7_table) const struct l7_table *small = lab_table(rules, rule_count);
    AUTO(l7_table) const struct l7_table *big = crowded(rules, rule_count);

    for (size_t i = 0; i < probe_count; i++) {
        if (!answers(t, small, &probes[i]) || !answers(t, big, &probes[i])) {
            return;
        }
    }
}

#define CHECK_ALL(rules, probes) check_all(t, rules, ARRAY_LEN(rules), probes, ARRAY_LEN(probes))

TEST(an_exact_path_is_the_whole_path)
{
    static const struct lab_rule rules[] = {{"=/one", "v1"}, {"=/two", "v2"}};
    static const struct probe probes[] = {
        {"GET /one", NULL, "v1"},       {"GET /two", NULL, "v2"}, {"GET /", NULL, ""},
        {"GET /one/example", NULL, ""}, {"GET /two/", NULL, ""},  {"GET /Two", NULL, ""},
        {"GET /one?x=1", NULL, "v1"},
    };

    CHECK_ALL(rules, probes);
}

TEST(exact_goes_before_the_longest_prefix)
{
    static const struct lab_rule rules[] = {
        {"=/match", "v1"}, {"=/match/exact", "v2"},  {"=/match/exact/one", "v3"},
        {"/match/", "v3"}, {"/match/prefix/", "v1"}, {"/match/prefix/one", "v2"}};
    static const struct probe probes[] = {
        {"GET /match/exact/one", NULL, "v3"},
        {"GET /match/exact", NULL, "v2"},
        {"GET /match", NULL, "v1"},
        {"GET /match/prefix/one/any", NULL, "v2"},
        {"GET /match/prefix/any", NULL, "v1"},
        {"GET /match/any", NULL, "v3"},
        {"GET /match/prefix/onesome", NULL, "v1"},
        {"GET /matching", NULL, ""},
    };

    CHECK_ALL(rules, probes);
}

TEST(a_prefix_covers_whole_segments)
{
    static const struct lab_rule rules[] = {{"/v2", "v2"}, {"/|h:version=one", "v1"}};
    static const struct probe probes[] = {
        {"GET /v2", NULL, "v2"},  {"GET /v2/", NULL, "v2"}, {"GET /v2/x", NULL, "v2"},
        {"GET /v2x", NULL, "v1"}, {"GET /", NULL, "v1"},    {"GET /v2", "version: one", "v2"},
        {"GET /V2", NULL, "v1"},
    };

    CHECK_ALL(rules, probes);
}

TEST(more_headers_win_and_then_the_earlier_rule)
{
    static const struct lab_rule rules[] = {{"h:version=one", "v1"},
                                            {"h:Version=two", "v2"},
                                            {"h:version=two h:color=orange", "v1"},
                                            {"h:color=blue|h:color=green", "v1"},
                                            {"h:color=red|h:color=yellow", "v2"}};
    static const struct probe probes[] = {
        {"GET /", "version: one", "v1"},
        {"GET /", "version: two", "v2"},
        {"GET /", "version: two\ncolor: orange", "v1"},
        {"GET /", "version: two\ncolor: blue", "v2"},
        {"GET /", "color: orange", ""},
        {"GET /", "some-other-header: one", ""},
        {"GET /", "color: blue", "v1"},
        {"GET /", "color: green", "v1"},
        {"GET /", "color: red", "v2"},
        {"GET /", "color: yellow", "v2"},
        {"GET /", "color: purple", ""},
    };

    CHECK_ALL(rules, probes);
}

TEST(a_path_beats_a_method_and_a_method_beats_headers)
{
    static const struct lab_rule rules[] = {{"POST", "v1"},
                                            {"GET", "v2"},
                                            {"/path1 GET", "v1"},
                                            {"PUT h:version=one", "v2"},
                                            {"/path2 POST h:version=two", "v3"},
                                            {"/path3 PATCH|/path4 DELETE h:version=three", "v1"},
                                            {"/path5", "v1"},
                                            {"PATCH", "v2"},
                                            {"h:version=four", "v3"}};
    static const struct probe probes[] = {
        {"POST /", NULL, "v1"},
        {"GET /", NULL, "v2"},
        {"HEAD /", NULL, ""},
        {"GET /path1", NULL, "v1"},
        {"PUT /", "version: one", "v2"},
        {"POST /path2", "version: two", "v3"},
        {"PATCH /path3", NULL, "v1"},
        {"DELETE /path4", "version: three", "v1"},
        {"PUT /", NULL, ""},
        {"DELETE /path4", NULL, ""},
        {"PATCH /path5", NULL, "v1"},
        {"PATCH /", "version: four", "v2"},
    };

    CHECK_ALL(rules, probes);
}

TEST(query_parameters_match_case_and_come_behind_headers)
{
    static const struct lab_rule rules[] = {
        {"q:animal=whale", "v1"},
        {"q:animal=dolphin", "v2"},
        {"q:animal=dolphin q:color=blue|q:ANIMAL=Whale", "v3"},
        {"/path1 q:animal=whale", "v1"},
        {"h:version=one q:animal=whale", "v2"},
        {"/path2 h:version=two q:animal=whale", "v3"},
        {"/path3 q:animal=shark|/path4 h:version=three q:animal=kraken", "v1"},
        {"/path5", "v1"},
        {"q:animal=hydra", "v2"},
        {"h:version=four", "v3"}};
    static const struct probe probes[] = {
        {"GET /?animal=whale", NULL, "v1"},
        {"GET /?animal=dolphin", NULL, "v2"},
        {"GET /?animal=dolphin&color=blue", NULL, "v3"},
        {"GET /?color=blue&animal=dolphin", NULL, "v3"},
        {"GET /?ANIMAL=Whale", NULL, "v3"},
        {"GET /?animal=whale&otherparam=irrelevant", NULL, "v1"},
        {"GET /?animal=dolphin&color=yellow", NULL, "v2"},
        {"GET /?color=blue", NULL, ""},
        {"GET /?animal=dog", NULL, ""},
        {"GET /?animal=whaledolphin", NULL, ""},
        {"GET /", NULL, ""},
        {"GET /path1?animal=whale", NULL, "v1"},
        {"GET /?animal=whale", "version: one", "v2"},
        {"GET /path2?animal=whale", "version: two", "v3"},
        {"GET /path3?animal=shark", NULL, "v1"},
        {"GET /path4?animal=kraken", "version: three", "v1"},
        {"GET /?animal=shark", NULL, ""},
        {"GET /path4?animal=kraken", NULL, ""},
        {"GET /path5?animal=hydra", NULL, "v1"},
        {"GET /?animal=hydra", "version: four", "v3"},
        {"GET /?animal=whale&animal=dolphin", NULL, "v1"}, /* the first counts */
        {"GET /?anim%61l=wh%61le", NULL, "v1"},
        {"GET /?animal=wh+ale", NULL, ""},
        {"GET /?animal", NULL, ""},
    };

    CHECK_ALL(rules, probes);
}

TEST(expressions_match_whole_paths_and_come_last)
{
    static const struct lab_rule rules[] = {{"~/a/[0-9]+", "re"},
                                            {"/a/1", "prefix"},
                                            {"~/[^/]+/Method", "grpc"},
                                            {"h~kind=ab*c", "header"},
                                            {"~/q.* q~n=[0-9]{2}", "query"},
                                            {"~/cx?y|~/dy", "either"},
                                            {"~/exx*y", "star"},
                                            {"~/f{2}", "twice"},
                                            {"h?there", "there"}};
    static const struct probe probes[] = {
        {"GET /a/12", NULL, "re"},       {"GET /a/12/", NULL, ""},
        {"GET /a/1", NULL, "prefix"},    {"POST /svc/Method", NULL, "grpc"},
        {"POST /svc/Method2", NULL, ""}, {"GET /", "kind: abbc", "header"},
        {"GET /", "kind: xabbc", ""},    {"GET /q?n=12", NULL, "query"},
        {"GET /q?n=123", NULL, ""},      {"GET /cy", NULL, "either"},
        {"GET /cxy", NULL, "either"},    {"GET /dy", NULL, "either"},
        {"GET /exy", NULL, "star"},      {"GET /ex", NULL, ""},
        {"GET /ff", NULL, "twice"},      {"GET /zzz", "there: ", "there"},
    };

    CHECK_ALL(rules, probes);
}

TEST(between_equals_age_then_name_then_rule_decide)
{
    static const struct lab_rule rules[] = {
        {"/x", "young", 20, "a/a", 1},  {"/x", "old", 10, "z/z", 2},
        {"/y", "second", 5, "a/x", 3},  {"/y", "first", 5, "a-b/x", 4},
        {"/z", "rule10", 5, "a/x", 10}, {"/z", "rule9", 5, "a/x", 9}};
    static const struct probe probes[] = {
        {"GET /x", NULL, "old"}, {"GET /y", NULL, "first"}, {"GET /z", NULL, "rule9"}};

    CHECK_ALL(rules, probes); /* "a-b/x" is before "a/x": they are compared as one text */
}

/* Every path of up to three segments over two letters, in all kinds, and every request: the index
 * must find what trying one by one finds. */
static const struct l7_match *tried_one_by_one(const struct l7_table *table,
                                               const struct l7_request *q)
{
    const struct l7_entry *e;
    unsigned unknown = 0;

    for (size_t i = 0; (e = l7_table_entry(table, i)); i++) {
        if (l7_match_holds(e->match, q, &unknown)) {
            return e->match;
        }
    }
    return NULL;
}

TEST(an_indexed_table_agrees_with_trying_one_by_one)
{
    static const char *const segments[] = {"a", "b", "ab", ""};
    struct rand_seq chance;

    rand_seq_init(&chance, 7);
    for (int round = 0; round < 60; round++) {
        struct lab_rule rules[48];
        char texts[48][64];
        for (size_t i = 0; i < ARRAY_LEN(rules); i++) {
            size_t n = 0;
            n += (size_t)snprintf(texts[i], 64, "%s", rand_seq_below(&chance, 3) == 0 ? "=" : "");
            for (uint64_t depth = 1 + rand_seq_below(&chance, 3); depth > 0; depth--) {
                n += (size_t)snprintf(texts[i] + n, 64 - n, "/%s",
                                      segments[rand_seq_below(&chance, 4)]);
            }
            (void)snprintf(texts[i] + n, 64 - n, "%s%s", rand_seq_below(&chance, 2) ? " GET" : "",
                           rand_seq_below(&chance, 2) ? " h:k=v" : "");
            rules[i] = (struct lab_rule){.matches = texts[i], .backend = "b"};
        }
        AUTO(l7_table) const struct l7_table *table = lab_table(rules, ARRAY_LEN(rules));
        for (int probe = 0; probe < 200; probe++) {
            struct lab_request r;
            char line[64];
            size_t n = (size_t)snprintf(line, sizeof(line), "%s ",
                                        rand_seq_below(&chance, 2) ? "GET" : "PUT");
            for (uint64_t depth = 1 + rand_seq_below(&chance, 4); depth > 0; depth--) {
                n += (size_t)snprintf(line + n, sizeof(line) - n, "/%s",
                                      segments[rand_seq_below(&chance, 4)]);
            }
            lab_request(&r, line, rand_seq_below(&chance, 2) ? "k: v" : NULL);
            CHECK(l7_table_find(table, &r.q).match == tried_one_by_one(table, &r.q));
        }
    }
}

/* Of few paths, with up to three headers of five and values that are shared by some and not by others. */
static void draw_rule(struct rand_seq *chance, char out[static 80])
{
    static const char *const paths[] = {"/", "/a", "=/a", "~/a.*"};
    static const char *const kinds[] = {":", ":", ":", "~", "?"};
    size_t n = (size_t)snprintf(out, 80, "%s%s", paths[rand_seq_below(chance, 4)],
                                rand_seq_below(chance, 4) == 0 ? " GET" : "");

    for (uint64_t left = rand_seq_below(chance, 4); left > 0; left--) {
        const char *kind = kinds[rand_seq_below(chance, 5)];
        n += (size_t)snprintf(out + n, 80 - n, " h%sx-%llu%s", kind,
                              (unsigned long long)rand_seq_below(chance, 5),
                              *kind == '?' ? "" : "=");
        if (*kind != '?') {
            n += (size_t)snprintf(out + n, 80 - n, "%llu",
                                  (unsigned long long)rand_seq_below(chance, 30));
        }
    }
}

static void draw_headers(struct rand_seq *chance, char out[static 80])
{
    size_t n = 0;

    *out = '\0';
    for (unsigned i = 0; i < 5; i++) {
        if (rand_seq_below(chance, 3) > 0) {
            n += (size_t)snprintf(out + n, 80 - n, "x-%u: %llu\n", i,
                                  (unsigned long long)rand_seq_below(chance, 31));
        }
    }
}

TEST(a_table_indexed_by_header_agrees_with_trying_one_by_one)
{
    static struct lab_rule rules[400];
    static char texts[400][80];
    struct rand_seq chance;

    rand_seq_init(&chance, 11);
    for (int round = 0; round < 20; round++) {
        size_t hits = 0;
        for (size_t i = 0; i < ARRAY_LEN(rules); i++) {
            draw_rule(&chance, texts[i]);
            bool rest =
                i % 40 != 0 && !strchr(texts[i], 'h'); /* one for everything hides the others */
            rules[i] = (struct lab_rule){.matches = rest ? "/a h:x-0=1" : texts[i], .backend = "b"};
        }
        AUTO(l7_table)
        const struct l7_table *table = lab_table(rules, round < 10 ? 60 : ARRAY_LEN(rules));
        for (int probe = 0; probe < 200; probe++) {
            struct lab_request r;
            char headers[80];
            draw_headers(&chance, headers);
            lab_request(&r, rand_seq_below(&chance, 2) ? "GET /a" : "PUT /a/b", headers);
            struct l7_hit hit = l7_table_find(table, &r.q);
            CHECK(hit.match == tried_one_by_one(table, &r.q));
            hits += hit.match && hit.match->header_count > 0;
        }
        CHECK(hits > 20);
    }
}

/* ---- and does not walk all of them */

static struct slice counted_header(void *arg, const char *name)
{
    unsigned *asked = arg;

    (*asked)++;
    return slice_of(strcmp(name, "x-tenant") == 0 ? "777"
                    : strcmp(name, "x-env") == 0  ? "prod"
                                                  : "");
}

TEST(a_thousand_rules_for_one_header_are_one_look_up)
{
    static struct lab_rule rules[1001];
    static char texts[1001][48];
    unsigned asked = 0;
    struct lab_request r;

    for (size_t i = 0; i < 1000; i++) { /* of the two headers only one tells them apart */
        (void)snprintf(texts[i], sizeof(texts[i]), "/api h:x-env=prod h:x-tenant=%zu", i);
        rules[i] = (struct lab_rule){.matches = texts[i], .backend = texts[i] + 29};
    }
    rules[1000] = (struct lab_rule){.matches = "/api", .backend = "rest"};
    AUTO(l7_table) const struct l7_table *table = lab_table(rules, ARRAY_LEN(rules));
    lab_request(&r, "GET /api/x", NULL);
    CHECK_STR(lab_target(&(struct l7_hit){.route = l7_table_find(table, &r.q).route}), "rest");
    r.q.header = counted_header;
    r.q.header_arg = &asked;
    struct l7_hit hit = l7_table_find(table, &r.q);
    CHECK_STR(lab_target(&hit), "777");
    CHECK(asked <= 4);
}

TEST(what_a_limit_stops_does_not_match_and_is_counted)
{
    static const struct lab_rule rules[] = {{"~/(a+)+(a+)+[bc]", "re"}, {"/", "rest"}};
    AUTO(l7_table) const struct l7_table *table = lab_table(rules, 1);
    struct lab_request r;
    char line[200] = "GET /";

    memset(line + 5, 'a', 60);
    lab_request(&r, line, NULL);
    struct l7_hit hit = l7_table_find(table, &r.q);
    CHECK(!hit.route);
    CHECK_INT(hit.unknown, 1);
}

TEST(too_many_parameters_hit_no_query_match)
{
    static const struct lab_rule rules[] = {{"q:a=b", "query"}};
    AUTO(l7_table) const struct l7_table *table = lab_table(rules, 1);
    struct lab_request r;
    AUTO(strbuf) struct strbuf line = {0};

    strbuf_puts(&line, "GET /?a=b");
    for (int i = 0; i < 100; i++) {
        strbuf_printf(&line, "&n%d=", i);
    }
    lab_request(&r, strbuf_text(&line), NULL);
    struct l7_hit hit = l7_table_find(table, &r.q);
    CHECK(!hit.route);
    CHECK_INT(hit.unknown, 1);
}
