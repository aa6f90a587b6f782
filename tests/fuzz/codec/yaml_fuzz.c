/* SPDX-License-Identifier: Apache-2.0 */
/* Whatever the text, what comes out is JSON within the limits. */
#include <assert.h>
#include <stdint.h>

#include "codec/yaml.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Values below and with j; fails where it is too deep. */
static size_t count(const struct json *j, unsigned depth)
{
    size_t n = 1;

    assert(depth <= YAML_DEPTH_MAX);
    for (size_t i = 0; json_is_arr(j) && i < json_count(j); i++) {
        n += count(json_item(j, i), depth + 1);
    }
    for (struct json_iter it = {0}; json_is_obj(j) && json_each(j, &it);) {
        n += count(it.value, depth + 1);
    }
    return n;
}

static void check(const struct json *j)
{
    AUTO(strbuf) struct strbuf text = {.limit = SIZE_MAX};
    AUTO(json) struct json *back = NULL;
    struct json_limits wide = {.bytes = SIZE_MAX, .depth = YAML_DEPTH_MAX};

    /* Merge keys copy once more what their alias was charged for. */
    assert(count(j, 0) <= 2 * (size_t)YAML_BUDGET);
    json_print(j, 0, &text);
    assert(json_parse(&back, text.p, text.len, &wide, NULL) == 0);
    assert(json_same(j, back));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    AUTO(yaml_reader) struct yaml_reader *y = NULL;
    struct json *document = NULL;

    if (yaml_reader_new(&y, (const char *)data, size, NULL) < 0) {
        return 0;
    }
    while (yaml_reader_next(y, &document, NULL) > 0) {
        check(document);
        document = json_unref(document);
    }
    assert(!document);
    return 0;
}
