/* SPDX-License-Identifier: Apache-2.0 */
/* What parses prints to text that parses to the same value; limits hold; a merge patch of a
 * value onto itself changes nothing but nulls. */
#include <assert.h>
#include <stdint.h>

#include "codec/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool has_null(const struct json *j)
{
    for (struct json_iter it = {0}; json_is_obj(j) && json_each(j, &it);) {
        if (json_kind(it.value) == JSON_KIND_NULL || has_null(it.value)) {
            return true;
        }
    }
    return false;
}

static unsigned depth_of(const struct json *j)
{
    unsigned deepest = 0;

    for (size_t i = 0; json_is_arr(j) && i < json_count(j); i++) {
        unsigned d = depth_of(json_item(j, i));
        deepest = d > deepest ? d : deepest;
    }
    for (struct json_iter it = {0}; json_is_obj(j) && json_each(j, &it);) {
        unsigned d = depth_of(it.value);
        deepest = d > deepest ? d : deepest;
    }
    return deepest + (json_is_arr(j) || json_is_obj(j));
}

static void round_trip(const struct json *j, unsigned flags)
{
    AUTO(strbuf) struct strbuf text = {0};
    AUTO(json) struct json *back = NULL;

    json_print(j, flags, &text);
    assert(json_parse(&back, text.p, text.len, NULL, NULL) == 0);
    assert(json_same(j, back));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct json *parsed = NULL;

    if (json_parse(&parsed, (const char *)data, size, NULL, NULL) < 0) {
        assert(!parsed);
        return 0;
    }
    AUTO(json) struct json *j = parsed;
    assert(depth_of(j) <= JSON_DEPTH_MAX);
    round_trip(j, 0);
    round_trip(j, JSON_PRINT_SORTED | JSON_PRINT_INDENT);
    AUTO(json) struct json *same = json_merge_patch(json_clone(j), j);
    assert(has_null(j) || json_same(same, j));
    return 0;
}
