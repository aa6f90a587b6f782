/* SPDX-License-Identifier: Apache-2.0 */
/* What is printed as YAML reads as the value it was printed from. */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "cli/yaml_print.h"
#include "codec/json.h"
#include "codec/yaml.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* "<<" as a key means something else to YAML, and no object of the API has one; a number that is not
 * whole need not come back digit for digit. */
static bool is_special(const struct json *j)
{
    for (struct json_iter it = {0}; json_is_obj(j) && json_each(j, &it);) {
        if (strcmp(it.key, "<<") == 0 || is_special(it.value)) {
            return true;
        }
    }
    for (size_t i = 0; json_is_arr(j) && i < json_count(j); i++) {
        if (is_special(json_item(j, i))) {
            return true;
        }
    }
    return json_kind(j) == JSON_KIND_REAL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct json_limits limits = {.bytes = 64 << 10, .depth = 20};
    struct json *parsed = NULL;

    if (json_parse(&parsed, (const char *)data, size, &limits, NULL) < 0) {
        return 0;
    }
    AUTO(json) struct json *j = parsed;
    AUTO(json) struct json *back = NULL;
    AUTO(strbuf) struct strbuf text = {0};
    if (is_special(j) || json_kind(j) == JSON_KIND_NULL) {
        return 0;
    }
    yaml_print(j, &text);
    assert(yaml_parse_all(&back, text.p, text.len, NULL) == 0);
    assert(json_count(back) == 1 && json_same(json_item(back, 0), j));
    return 0;
}
