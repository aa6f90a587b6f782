/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/patch.h"

#include <string.h>

#include "apiserver/schema.h"
#include "base/mem.h"
#include "codec/json.h"
#include "t.h"

static const char shape[] =
    "spec:{ports:[{name port:int protocol=TCP}]@port+protocol finalizers:[string]@* args:[string] "
    "selector:<string> one:{a b}}";

/* Single quotes for double ones: the texts stay readable. */
static struct json *parse(const char *text)
{
    char buf[1024];
    size_t n = strlen(text);
    struct json *j = NULL;

    for (size_t i = 0; i <= n && n < sizeof(buf); i++) {
        buf[i] = text[i] == '\'' ? '"' : text[i];
    }
    return json_parse(&j, buf, n, NULL, NULL) < 0 ? NULL : j;
}

static char *print(const struct json *j)
{
    struct strbuf text = {0};

    json_print(j, JSON_PRINT_SORTED, &text);
    for (size_t i = 0; i < text.len; i++) {
        text.p[i] = text.p[i] == '"' ? '\'' : text.p[i];
    }
    return strbuf_take(&text);
}

/* The result as text, or the error's name. The caller's. */
static char *patched(enum patch_type type, const char *old, const char *patch)
{
    AUTO(schema) struct schema *s = NULL;
    AUTO(json) struct json *o = parse(old);
    AUTO(json) struct json *p = parse(patch);
    AUTO(json) struct json *out = NULL;
    struct diag why = {0};

    if (schema_parse(shape, &why, &s) < 0 || !o || !p) {
        return mem_strdup("bad test");
    }
    int r = patch_apply(type, s, o, p, &why, &out);
    return r < 0 ? mem_strdup(err_name(r)) : print(out);
}

struct patch_case {
    const char *old;
    const char *patch;
    const char *want;
};

static const char *first_wrong(enum patch_type type, const struct patch_case *cases, size_t n,
                               char **out)
{
    for (size_t i = 0; i < n; i++) {
        char *is = patched(type, cases[i].old, cases[i].patch);
        if (strcmp(is, cases[i].want) != 0) {
            *out = is;
            return cases[i].want;
        }
        mem_free(is);
    }
    *out = mem_strdup("");
    return "";
}

#define CHECK_PATCHES(type, cases)                                                                 \
    do {                                                                                           \
        char *is = NULL;                                                                           \
        const char *want = first_wrong((type), (cases), ARRAY_LEN(cases), &is);                    \
        AUTO(text) char *release = is;                                                             \
        CHECK_STR(is, want);                                                                       \
    } while (0)

TEST(merge_patches_do_what_rfc_7396_shows)
{
    static const struct patch_case cases[] = {
        {"{'a':'b'}", "{'a':'c'}", "{'a':'c'}"},
        {"{'a':'b'}", "{'b':'c'}", "{'a':'b','b':'c'}"},
        {"{'a':'b'}", "{'a':null}", "{}"},
        {"{'a':'b','b':'c'}", "{'a':null}", "{'b':'c'}"},
        {"{'a':['b']}", "{'a':'c'}", "{'a':'c'}"},
        {"{'a':'c'}", "{'a':['b']}", "{'a':['b']}"},
        {"{'a':{'b':'c'}}", "{'a':{'b':'d','c':null}}", "{'a':{'b':'d'}}"},
        {"{'a':[{'b':'c'}]}", "{'a':[1]}", "{'a':[1]}"},
        {"{'e':null}", "{'a':1}", "{'a':1,'e':null}"},
        {"{}", "{'a':{'bb':{'ccc':null}}}", "{'a':{'bb':{}}}"},
        {"{'a':1}", "[1]", "ERR_SYNTAX"},
    };

    CHECK_PATCHES(PATCH_MERGE, cases);
}

TEST(json_patches_do_what_rfc_6902_shows)
{
    static const struct patch_case cases[] = {
        {"{'foo':'bar'}", "[{'op':'add','path':'/baz','value':'qux'}]",
         "{'baz':'qux','foo':'bar'}"},
        {"{'foo':['bar','baz']}", "[{'op':'add','path':'/foo/1','value':'qux'}]",
         "{'foo':['bar','qux','baz']}"},
        {"{'baz':'qux','foo':'bar'}", "[{'op':'remove','path':'/baz'}]", "{'foo':'bar'}"},
        {"{'foo':['bar','qux','baz']}", "[{'op':'remove','path':'/foo/1'}]",
         "{'foo':['bar','baz']}"},
        {"{'baz':'qux'}", "[{'op':'replace','path':'/baz','value':'boo'}]", "{'baz':'boo'}"},
        {"{'foo':{'bar':'baz','waldo':'fred'},'qux':{'corge':'grault'}}",
         "[{'op':'move','from':'/foo/waldo','path':'/qux/thud'}]",
         "{'foo':{'bar':'baz'},'qux':{'corge':'grault','thud':'fred'}}"},
        {"{'foo':['all','grass','cows','eat']}", "[{'op':'move','from':'/foo/1','path':'/foo/3'}]",
         "{'foo':['all','cows','eat','grass']}"},
        {"{'baz':'qux','foo':['a',2,'c']}",
         "[{'op':'test','path':'/baz','value':'qux'},{'op':'test','path':'/foo/1','value':2}]",
         "{'baz':'qux','foo':['a',2,'c']}"},
        {"{'baz':'qux'}", "[{'op':'test','path':'/baz','value':'bar'}]", "ERR_CONFLICT"},
        {"{'foo':'bar'}", "[{'op':'add','path':'/child','value':{'grandchild':{}}}]",
         "{'child':{'grandchild':{}},'foo':'bar'}"},
        {"{'foo':'bar'}", "[{'op':'add','path':'/baz/bat','value':'qux'}]", "ERR_CONFLICT"},
        {"{'/':9,'~1':10}", "[{'op':'test','path':'/~01','value':10}]", "{'/':9,'~1':10}"},
        {"{'/':9,'~1':10}", "[{'op':'test','path':'/~01','value':'10'}]", "ERR_CONFLICT"},
        {"{'foo':['bar']}", "[{'op':'add','path':'/foo/-','value':['abc','def']}]",
         "{'foo':['bar',['abc','def']]}"},
        {"{'a':1}", "[{'op':'copy','from':'/a','path':'/b'}]", "{'a':1,'b':1}"},
        {"{'a':{'b':1}}", "[{'op':'move','from':'/a','path':'/a/c'}]", "ERR_CONFLICT"},
        {"{'a':1}", "[{'op':'replace','path':'','value':{'b':2}}]", "{'b':2}"},
        {"{'a':1}", "[{'op':'replace','path':'','value':[]}]", "ERR_CONFLICT"},
        {"{'a':[1]}", "[{'op':'replace','path':'/a/0','value':2}]", "{'a':[2]}"},
        {"{'a':[1]}", "[{'op':'replace','path':'/a/1','value':2}]", "ERR_CONFLICT"},
        {"{'a':[1]}", "[{'op':'add','path':'/a/01','value':2}]", "ERR_CONFLICT"},
        {"{'a':[1]}", "[{'op':'remove','path':'/a/-'}]", "ERR_CONFLICT"},
        {"{'a':1}", "[{'op':'remove','path':'/absent'}]", "ERR_CONFLICT"},
        {"{'a':1}", "[{'op':'add','path':'x','value':2}]", "ERR_SYNTAX"},
        {"{'a':1}", "[{'op':'grow','path':'/a','value':2}]", "ERR_SYNTAX"},
        {"{'a':1}", "[{'op':'add','path':'/a'}]", "ERR_SYNTAX"},
        {"{'a':1}", "{'op':'add'}", "ERR_SYNTAX"},
    };

    CHECK_PATCHES(PATCH_JSON, cases);
}

TEST(strategic_merge_knows_the_keys_of_lists)
{
    static const struct patch_case cases[] = {
        {"{'spec':{'ports':[{'name':'a','port':1}]}}", "{'spec':{'ports':[{'port':1,'name':'b'}]}}",
         "{'spec':{'ports':[{'name':'b','port':1}]}}"},
        {"{'spec':{'ports':[{'port':80},{'port':90}]}}", "{'spec':{'ports':[{'port':81}]}}",
         "{'spec':{'ports':[{'port':81},{'port':80},{'port':90}]}}"},
        {"{'spec':{'ports':[{'port':80},{'port':90}]}}",
         "{'spec':{'ports':[{'port':80,'$patch':'delete'}]}}", "{'spec':{'ports':[{'port':90}]}}"},
        {"{'spec':{'ports':[{'port':80},{'port':90}]}}",
         "{'spec':{'ports':[{'$patch':'replace'},{'port':1}]}}", "{'spec':{'ports':[{'port':1}]}}"},
        {"{'spec':{'ports':[{'port':1},{'port':2},{'port':3}]}}",
         "{'spec':{'$setElementOrder/ports':[{'port':3},{'port':1}]}}",
         "{'spec':{'ports':[{'port':2},{'port':3},{'port':1}]}}"},
        {"{'spec':{'ports':[{'port':80}]}}", "{'spec':{'ports':null}}", "{'spec':{}}"},
        {"{'spec':{'ports':[{'port':80}]}}", "{'spec':{'ports':[{'name':'x'}]}}", "ERR_CONFLICT"},
        {"{'spec':{'ports':[{'name':'x'}]}}", "{'spec':{'ports':[{'port':80}]}}", "ERR_CONFLICT"},
        {"{'spec':{'args':['a','b']}}", "{'spec':{'args':['c']}}", "{'spec':{'args':['c']}}"},
        {"{'spec':{'finalizers':['a']}}", "{'spec':{'finalizers':['a','b']}}",
         "{'spec':{'finalizers':['a','b']}}"},
        {"{'spec':{'finalizers':['a','b']}}",
         "{'spec':{'$deleteFromPrimitiveList/finalizers':['a']}}", "{'spec':{'finalizers':['b']}}"},
        {"{'spec':{'one':{'a':'1','b':'2'}}}", "{'spec':{'one':{'$retainKeys':['a'],'a':'3'}}}",
         "{'spec':{'one':{'a':'3'}}}"},
        {"{'spec':{'one':{'a':'1','b':'2'}}}", "{'spec':{'one':{'$patch':'replace','a':'3'}}}",
         "{'spec':{'one':{'a':'3'}}}"},
        {"{'spec':{'one':{'a':'1'}}}", "{'spec':{'one':{'$patch':'delete'}}}", "{'spec':{}}"},
        {"{'spec':{'selector':{'x':'1'}}}", "{'spec':{'selector':{'y':'2','x':null}}}",
         "{'spec':{'selector':{'y':'2'}}}"},
        {"{}", "{'spec':{'ports':[{'port':1,'$patch':'delete'},{'port':2}]}}",
         "{'spec':{'ports':[{'port':2}]}}"},
        {"{}", "{'spec':{'$nonsense':1}}", "ERR_SYNTAX"},
    };

    CHECK_PATCHES(PATCH_STRATEGIC, cases);
}

TEST(a_patch_that_copies_itself_full_is_stopped)
{
    AUTO(json) struct json *old = parse("{'a':{'b':'0123456789'}}");
    AUTO(json) struct json *patch = json_new_array();
    struct json *out = NULL;
    struct diag why = {0};

    for (int i = 0; i < 70; i++) {
        json_append(patch, parse("{'op':'copy','from':'/a','path':'/a/c'}"));
    }
    CHECK_INT(patch_apply(PATCH_JSON, NULL, old, patch, &why, &out), -ERR_LIMIT);
    AUTO(json) struct json *wide = json_new_array();
    for (int i = 0; i < 60; i++) {
        json_append(wide, parse("{'op':'add','path':'/x','value':{}}"));
        json_append(wide, parse("{'op':'copy','from':'','path':'/x/y'}"));
        json_append(wide, parse("{'op':'move','from':'/x','path':'/z'}"));
    }
    CHECK_INT(patch_apply(PATCH_JSON, NULL, old, wide, &why, &out), -ERR_LIMIT);
}

TEST(a_patch_that_carries_much_to_and_fro_is_stopped)
{
    AUTO(json) struct json *old = parse("{'a':[]}");
    AUTO(json) struct json *patch = json_new_array();
    struct json *out = NULL;
    struct diag why = {0};

    for (int i = 0; i < 100000; i++) {
        json_append(json_get(old, "a"), json_new_bool(true));
    }
    json_append(patch, parse("{'op':'move','from':'/a','path':'/b'}"));
    CHECK_INT(patch_apply(PATCH_JSON, NULL, old, patch, &why, &out), 0);
    json_unref(out);
    for (int i = 0; i < 40; i++) {
        json_append(patch, parse("{'op':'move','from':'/b','path':'/a'}"));
        json_append(patch, parse("{'op':'move','from':'/a','path':'/b'}"));
    }
    CHECK_INT(patch_apply(PATCH_JSON, NULL, old, patch, &why, &out), -ERR_LIMIT);
}

TEST(keyed_lists_too_long_to_compare_are_not_merged)
{
    AUTO(json) struct json *old = parse("{'spec':{'ports':[{'port':1}]}}");
    AUTO(json) struct json *patch = parse("{'spec':{'ports':[]}}");
    struct json *list = json_get(json_get(patch, "spec"), "ports");
    AUTO(schema) struct schema *s = NULL;
    struct json *out = NULL;
    struct diag why = {0};

    CHECK_INT(schema_parse(shape, &why, &s), 0);
    for (int i = 0; i < 1024; i++) {
        struct json *item = json_new_object();
        json_set(item, "port", json_new_int(i));
        json_append(list, item);
    }
    CHECK_INT(patch_apply(PATCH_STRATEGIC, s, old, patch, &why, &out), 0);
    CHECK_INT(json_count(json_get(json_get(out, "spec"), "ports")), 1024);
    json_unref(out);
    json_append(list, parse("{'port':1024}"));
    CHECK_INT(patch_apply(PATCH_STRATEGIC, s, old, patch, &why, &out), -ERR_LIMIT);
    CHECK_STR(why.text, "ports: lists of more than 1024 items are not merged");
}

TEST(content_types_name_the_form)
{
    CHECK_INT(patch_type_of(slice_of("application/merge-patch+json")), PATCH_MERGE);
    CHECK_INT(patch_type_of(slice_of("Application/JSON-Patch+json; charset=utf-8")), PATCH_JSON);
    CHECK_INT(patch_type_of(slice_of("application/strategic-merge-patch+json")), PATCH_STRATEGIC);
    CHECK_INT(patch_type_of(slice_of("application/apply-patch+yaml")), PATCH_APPLY);
    CHECK_INT(patch_type_of(slice_of("application/json")), PATCH_UNKNOWN);
    CHECK_INT(patch_type_of(slice_of("")), PATCH_UNKNOWN);
}
