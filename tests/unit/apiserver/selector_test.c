/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/selector.h"

#include <string.h>

#include "apiserver/kind.h"
#include "apiserver/object.h"
#include "codec/json.h"
#include "t.h"

static struct object *pod(const char *text)
{
    AUTO(json) struct json *body = NULL;

    return json_parse(&body, text, strlen(text), NULL, NULL) < 0
               ? NULL
               : object_new(kind_named("", "Pod"), 1, body);
}

static const char cart[] =
    "{\"metadata\":{\"name\":\"cart\",\"namespace\":\"shop\","
    "\"labels\":{\"app\":\"cart\",\"tier\":\"back\",\"n\":\"7\",\"empty\":\"\"}},"
    "\"spec\":{\"nodeName\":\"a\"},\"status\":{\"phase\":\"Running\",\"podIP\":\"10.0.0.1\"}}";

TEST(labels_are_selected_as_kubernetes_does)
{
    static const struct {
        const char *selector;
        bool matches;
    } cases[] = {
        {"", true},
        {"app", true},
        {"absent", false},
        {"!app", false},
        {"!absent", true},
        {"app=cart", true},
        {"app==cart", true},
        {"app=web", false},
        {"app!=web", true},
        {"absent!=web", true},
        {"app!=cart", false},
        {"app in (web,cart)", true},
        {"app in (web)", false},
        {"absent in (web)", false},
        {"app notin (web)", true},
        {"absent notin (web)", true},
        {"app notin (web, cart)", false},
        {" app = cart , tier", true},
        {"app=cart,tier=front", false},
        {"app in (web,cart),tier,!x", true},
        {"n>6", true},
        {"n>7", false},
        {"n<8", true},
        {"n<-1", false},
        {"app>1", false},
        {"empty=", true},
        {"empty in ()", true},
        {"app=", false},
        {"app in (,cart)", true},
    };
    AUTO(object) struct object *o = pod(cart);

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        AUTO(selector) struct selector *s = NULL;
        struct diag why = {0};
        CHECK_INT(selector_parse_labels(slice_of(cases[i].selector), &why, &s), 0);
        if (selector_matches(s, o) != cases[i].matches) {
            CHECK_STR(cases[i].selector, cases[i].matches ? "matches" : "does not match");
        }
    }
}

TEST(a_broken_label_selector_says_where)
{
    static const struct {
        const char *selector;
        const char *message;
    } cases[] = {
        {"a b c", "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt"},
        {"app in cart", "unable to parse requirement: found 'cart', expected: '('"},
        {"app in (cart", "unable to parse requirement: found '', expected: ',' or ')'"},
        {"app=cart tier",
         "unable to parse requirement: found 'tier', expected: ',' or 'end of string'"},
        {"=x",
         "unable to parse requirement: found '=', expected: !, identifier, or 'end of string'"},
        {"a,",
         "unable to parse requirement: found '', expected: !, identifier, or 'end of string'"},
        {"n>x",
         "unable to parse requirement: for 'Gt', 'Lt' operators, the value must be an integer"},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct selector *s = NULL;
        struct diag why = {0};
        CHECK_INT(selector_parse_labels(slice_of(cases[i].selector), &why, &s), -ERR_SYNTAX);
        CHECK_STR(why.text, cases[i].message);
        CHECK(!s);
    }
}

TEST(fields_are_selected_where_the_kind_allows_it)
{
    static const struct {
        const char *selector;
        int parses;
        bool matches;
    } cases[] = {
        {"", 0, true},
        {"metadata.name=cart", 0, true},
        {"metadata.name!=cart", 0, false},
        {"metadata.namespace==shop,status.phase=Running", 0, true},
        {"spec.nodeName=a", 0, true},
        {"spec.nodeName=", 0, false},
        {"spec.nodeName!=b,", 0, true},
        {"status.podIP=10.0.0.1", 0, true},
        {"spec.bogus=1", -ERR_UNSUPPORTED, false},
        {"metadata.name", -ERR_SYNTAX, false},
        {"=x", -ERR_SYNTAX, false},
    };
    AUTO(object) struct object *o = pod(cart);

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        AUTO(selector) struct selector *s = NULL;
        struct diag why = {0};
        CHECK_INT(selector_parse_fields(o->kind, slice_of(cases[i].selector), &why, &s),
                  cases[i].parses);
        if (cases[i].parses == 0 && selector_matches(s, o) != cases[i].matches) {
            CHECK_STR(cases[i].selector, cases[i].matches ? "matches" : "does not match");
        }
    }
}

TEST(what_a_selector_pins_down_can_be_asked)
{
    AUTO(selector) struct selector *s = NULL;
    struct diag why = {0};

    CHECK_INT(selector_parse_fields(kind_named("", "Pod"),
                                    slice_of("status.phase!=Failed,spec.nodeName=a"), &why, &s),
              0);
    CHECK_STR(selector_wants(s, "spec.nodeName"), "a");
    CHECK(!selector_wants(s, "status.phase"));
    CHECK(!selector_wants(NULL, "spec.nodeName"));
}

TEST(a_selector_has_its_limits)
{
    AUTO(strbuf) struct strbuf text = {0};
    struct selector *s = NULL;
    struct diag why = {0};

    for (int i = 0; i < SELECTOR_TERMS + 1; i++) {
        strbuf_puts(&text, i > 0 ? ",a" : "a");
    }
    CHECK_INT(selector_parse_labels(slice_of(strbuf_text(&text)), &why, &s), -ERR_LIMIT);
    while (text.len <= SELECTOR_TEXT) {
        strbuf_putc(&text, 'a');
    }
    CHECK_INT(selector_parse_labels(slice_of(strbuf_text(&text)), &why, &s), -ERR_TOO_LARGE);
}
