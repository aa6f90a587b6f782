/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The three patch engines. Input: a byte that chooses one, an object, a line feed, a patch.
 * Oracles: RFC 7396's own pseudo-code for merge patches, which are also idempotent; a strategic patch
 * without lists and directives is a merge patch, and one without directives is idempotent; what a JSON
 * patch makes passes a test against itself, and what its last operation put somewhere is there; no
 * result is deeper than a parser takes.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "apiserver/patch.h"
#include "apiserver/schema.h"
#include "base/mem.h"
#include "codec/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char shape[] =
    "spec:{ports:[{name port:int protocol=TCP}]@port+protocol finalizers:[string]@* args:[string] "
    "m:<string> o:{a b:{c}}} metadata:{labels:<string> finalizers:[string]@*}";

/* RFC 7396 section 2, word for word. */
static struct json *model_merge(struct json *take_target, const struct json *patch)
{
    if (!json_is_obj(patch)) {
        json_unref(take_target);
        return json_clone(patch);
    }
    if (!json_is_obj(take_target)) {
        json_unref(take_target);
        take_target = json_new_object();
    }
    for (struct json_iter it = {0}; json_each(patch, &it);) {
        if (json_kind(it.value) == JSON_KIND_NULL) {
            json_remove(take_target, it.key);
        } else {
            struct json *old = json_ref(json_get(take_target, it.key));
            json_set(take_target, it.key, model_merge(json_clone(old), it.value));
            json_unref(old);
        }
    }
    return take_target;
}

/* No directives, and where they are not allowed either no lists. */
static bool is_plain(const struct json *patch, bool with_lists)
{
    bool plain = with_lists || !json_is_arr(patch);

    for (size_t i = 0; plain && json_is_arr(patch) && i < json_count(patch); i++) {
        plain = is_plain(json_item(patch, i), with_lists);
    }
    for (struct json_iter it = {0}; plain && json_is_obj(patch) && json_each(patch, &it);) {
        plain = it.key[0] != '$' && is_plain(it.value, with_lists);
    }
    return plain;
}

static void must(bool truth)
{
    if (!truth) {
        abort();
    }
}

static void check_depth(const struct json *result)
{
    AUTO(strbuf) struct strbuf text = {0};
    AUTO(json) struct json *again = NULL;

    json_print(result, 0, &text);
    must(json_parse(&again, strbuf_text(&text), text.len, NULL, NULL) == 0);
}

static void check_merge(const struct schema *s, const struct json *old, const struct json *patch,
                        const struct json *result)
{
    AUTO(json) struct json *model = model_merge(json_clone(old), patch);
    AUTO(json) struct json *twice = NULL;
    struct diag why = {0};

    must(json_same(model, result));
    must(patch_apply(PATCH_MERGE, s, result, patch, &why, &twice) == 0);
    must(json_same(twice, result));
}

static struct json *test_of(const char *path, const struct json *value)
{
    struct json *op = json_new_object();

    json_set_str(op, "op", "test");
    json_set_str(op, "path", path);
    json_set(op, "value", json_clone(value));
    return op;
}

/* What the last operation put somewhere is there. */
static void check_last(const struct json *old, const struct json *patch)
{
    const struct json *last = json_item(patch, json_count(patch) - 1);
    const char *op = json_str_at(last, "op", "");
    const char *path = json_str_at(last, "path", "");
    size_t n = strlen(path);
    AUTO(json) struct json *more = json_clone(patch);
    AUTO(json) struct json *out = NULL;
    struct diag why = {0};

    bool puts = strcmp(op, "add") == 0 || strcmp(op, "replace") == 0;
    if (puts && (n < 2 || strcmp(path + n - 2, "/-") != 0)) {
        json_append(more, test_of(path, json_get(last, "value")));
        must(patch_apply(PATCH_JSON, NULL, old, more, &why, &out) == 0);
    }
}

static void check_json_patch(const struct json *old, const struct json *patch,
                             const struct json *result)
{
    AUTO(json) struct json *test = json_new_array();
    AUTO(json) struct json *same = NULL;
    struct diag why = {0};

    json_append(test, test_of("", result));
    must(patch_apply(PATCH_JSON, NULL, result, test, &why, &same) == 0);
    must(json_same(same, result));
    if (json_count(patch) > 0 && json_count(patch) < PATCH_OPERATIONS) {
        check_last(old, patch);
    }
}

static void check_strategic(const struct schema *s, const struct json *old,
                            const struct json *patch, const struct json *result)
{
    AUTO(json) struct json *twice = NULL;
    struct diag why = {0};

    if (is_plain(patch, true)) {
        must(patch_apply(PATCH_STRATEGIC, s, result, patch, &why, &twice) == 0);
        must(json_same(twice, result));
    }
    if (is_plain(patch, false)) {
        AUTO(json) struct json *model = model_merge(json_clone(old), patch);
        must(json_same(model, result));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const enum patch_type types[] = {PATCH_MERGE, PATCH_JSON, PATCH_STRATEGIC};
    AUTO(schema) struct schema *s = NULL;
    AUTO(json) struct json *old = NULL;
    AUTO(json) struct json *patch = NULL;
    AUTO(json) struct json *result = NULL;
    struct slice first;
    struct slice second;
    struct diag why = {0};

    if (size < 2 ||
        !slice_cut((struct slice){(const char *)data + 1, size - 1}, '\n', &first, &second) ||
        json_parse(&old, first.p, first.len, NULL, NULL) < 0 || !json_is_obj(old) ||
        json_parse(&patch, second.p ? second.p : "", second.len, NULL, NULL) < 0 ||
        schema_parse(shape, &why, &s) < 0) {
        return 0;
    }
    AUTO(json) struct json *before = json_clone(old);
    enum patch_type type = types[data[0] % 3];
    int r = patch_apply(type, s, old, patch, &why, &result);
    must(json_same(before, old)); /* the old object stays as it was */
    if (r < 0) {
        return 0;
    }
    must(json_is_obj(result));
    check_depth(result);
    if (type == PATCH_MERGE) {
        check_merge(s, old, patch, result);
    } else if (type == PATCH_JSON) {
        check_json_patch(old, patch, result);
    } else {
        check_strategic(s, old, patch, result);
    }
    return 0;
}
