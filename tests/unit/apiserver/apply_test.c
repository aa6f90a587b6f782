/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/apply.h"

#include <string.h>

#include "apiserver/managed.h"
#include "apiserver/schema.h"
#include "base/mem.h"
#include "codec/json.h"
#include "t.h"

static const char shape[] =
    "kind apiVersion metadata:any "
    "spec:{ports:[{name port:int protocol=TCP}]@port+protocol set:[string]@* args:[string] "
    "m:<string> whole:<string>~ o:{a b:{c}}}";

/* Single quotes for double ones: the texts stay readable. */
static void swap_quotes(char *text, char from, char to)
{
    for (; *text; text++) {
        *text = *text == from ? to : *text;
    }
}

static struct json *spec_of(const char *text)
{
    AUTO(text) char *own = mem_strdup(text);
    AUTO(json) struct json *object = json_new_object();
    struct json *spec = NULL;

    swap_quotes(own, '\'', '"');
    json_set_str(object, "apiVersion", "v1");
    if (json_parse(&spec, own, strlen(own), NULL, NULL) == 0) {
        json_set(object, "spec", spec);
    }
    return MOVE(object);
}

static char *print_spec(const struct json *object)
{
    struct strbuf b = {0};

    json_print(json_get(object, "spec"), JSON_PRINT_SORTED, &b);
    char *text = strbuf_take(&b);
    swap_quotes(text, '"', '\'');
    return text;
}

/* The fields that conflict, with their owners' names. */
static char *print_conflicts(const struct json *status)
{
    struct strbuf b = {0};
    const struct json *causes = json_get(json_get(status, "details"), "causes");

    for (size_t i = 0; i < json_count(causes); i++) {
        const struct json *cause = json_item(causes, i);
        strbuf_printf(&b, "%s%s: %s", i > 0 ? "; " : "", json_str(json_get(cause, "field"), "?"),
                      json_str(json_get(cause, "message"), "?"));
    }
    char *text = strbuf_take(&b);
    swap_quotes(text, '"', '\'');
    return text;
}

struct step {
    const char *manager;
    const char *config;
    const char *want; /* the spec, or the conflicts */
    bool force;
    bool update; /* not applied: the whole spec, as by PUT */
};

/* Replaces the object by what it is after the step. The text is the caller's. */
static char *take_step(const struct schema *s, struct json **object, const struct step *step)
{
    struct managed_by by = {.manager = step->manager, .subresource = "", .now_s = 1};
    AUTO(json) struct json *config = spec_of(step->config);
    struct json *out = NULL;
    AUTO(json) struct json *conflicts = NULL;

    if (step->update) {
        out = json_ref(config);
        json_set(out, "metadata", json_clone(json_get(*object, "metadata")));
        managed_update(s, *object, out, &by);
    } else if (!*object) {
        out = apply_create(s, config, &by);
    } else {
        apply_merge(s, *object, config, &by, step->force, &out, &conflicts);
    }
    if (!out) {
        return print_conflicts(conflicts);
    }
    json_unref(*object);
    *object = out;
    return print_spec(out);
}

#define CHECK_STEPS(...)                                                                           \
    do {                                                                                           \
        static const struct step steps[] = {__VA_ARGS__};                                          \
        AUTO(schema) struct schema *s = NULL;                                                      \
        AUTO(json) struct json *object = NULL;                                                     \
        struct diag why = {0};                                                                     \
        CHECK_INT(schema_parse(shape, &why, &s), 0);                                               \
        for (size_t i = 0; s && i < sizeof(steps) / sizeof(steps[0]); i++) {                       \
            AUTO(text) char *got = take_step(s, &object, &steps[i]);                               \
            CHECK_STR(got, steps[i].want);                                                         \
        }                                                                                          \
    } while (0)

TEST(what_a_manager_no_longer_wants_goes)
{
    CHECK_STEPS(
        {"a", "{'m':{'x':'1','y':'2'},'args':['q']}", "{'args':['q'],'m':{'x':'1','y':'2'}}"},
        {"a", "{'m':{'x':'1'}}", "{'m':{'x':'1'}}"}, {"a", "{}", "{}"});
}

TEST(what_another_manager_wants_too_stays)
{
    CHECK_STEPS({"a", "{'m':{'x':'1','y':'2'}}", "{'m':{'x':'1','y':'2'}}"},
                {"b", "{'m':{'y':'2','z':'3'}}", "{'m':{'x':'1','y':'2','z':'3'}}"},
                {"a", "{}", "{'m':{'y':'2','z':'3'}}"});
}

TEST(a_value_of_another_manager_is_a_conflict_until_it_is_forced)
{
    CHECK_STEPS({"a", "{'o':{'a':'1','b':{'c':'2'}}}", "{'o':{'a':'1','b':{'c':'2'}}}"},
                {"b", "{'o':{'a':'9','b':{'c':'8'}}}",
                 ".spec.o.a: conflict with 'a'; .spec.o.b.c: conflict with 'a'"},
                {"b", "{'o':{'a':'9'}}", "{'o':{'a':'9','b':{'c':'2'}}}", .force = true},
                {"a", "{'o':{'a':'1'}}", ".spec.o.a: conflict with 'b'"},
                {"a", "{'o':{'b':{'c':'2'}}}", "{'o':{'a':'9','b':{'c':'2'}}}"},
                {"a", "{}", "{'o':{'a':'9'}}"});
}

TEST(an_update_owns_what_it_changed)
{
    CHECK_STEPS({"a", "{'m':{'x':'1','y':'2'}}", "{'m':{'x':'1','y':'2'}}"},
                {"u", "{'m':{'x':'5','y':'2'}}", "{'m':{'x':'5','y':'2'}}", .update = true},
                {"a", "{'m':{'x':'1','y':'2'}}", ".spec.m.x: conflict with 'u' using v1"},
                {"a", "{'m':{'y':'2'}}", "{'m':{'x':'5','y':'2'}}"});
}

TEST(items_of_keyed_lists_have_managers_of_their_own)
{
    CHECK_STEPS({"a", "{'ports':[{'port':1,'protocol':'TCP','name':'x'}]}",
                 "{'ports':[{'name':'x','port':1,'protocol':'TCP'}]}"},
                {"b", "{'ports':[{'port':2,'protocol':'TCP','name':'y'}]}",
                 "{'ports':[{'name':'x','port':1,'protocol':'TCP'},"
                 "{'name':'y','port':2,'protocol':'TCP'}]}"},
                {"b", "{'ports':[{'port':1,'protocol':'TCP','name':'z'}]}",
                 ".spec.ports[port=1,protocol='TCP'].name: conflict with 'a'"},
                {"a", "{}", "{'ports':[{'name':'y','port':2,'protocol':'TCP'}]}"});
}

TEST(values_of_a_set_have_managers_of_their_own)
{
    CHECK_STEPS({"a", "{'set':['p','q']}", "{'set':['p','q']}"},
                {"b", "{'set':['q','r']}", "{'set':['p','q','r']}"},
                {"a", "{}", "{'set':['q','r']}"}, {"b", "{}", "{}"});
}

TEST(what_is_whole_has_one_manager)
{
    CHECK_STEPS({"a", "{'whole':{'x':'1'},'args':['1']}", "{'args':['1'],'whole':{'x':'1'}}"},
                {"b", "{'whole':{'y':'1'}}", ".spec.whole: conflict with 'a'"},
                {"b", "{'args':['1','2']}", ".spec.args: conflict with 'a'"},
                {"b", "{'whole':{'y':'1'}}", "{'args':['1'],'whole':{'y':'1'}}", .force = true});
}

TEST(a_container_alone_is_filled_and_emptied_by_others)
{
    CHECK_STEPS({"a", "{'m':{}}", "{'m':{}}"}, {"b", "{'m':{'x':'1'}}", "{'m':{'x':'1'}}"},
                {"a", "{'m':{}}", "{'m':{'x':'1'}}"}, {"b", "{}", "{'m':{}}"}, {"a", "{}", "{}"});
}
