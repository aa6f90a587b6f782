/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/label_change.h"

#include <string.h>

#include "base/str.h"
#include "codec/json.h"

static int read_one(const char *word, struct json *patch, struct diag *why)
{
    struct slice key;
    struct slice value;
    AUTO(strbuf) struct strbuf name = {0};
    bool sets = slice_cut(slice_of(word), '=', &key, &value);

    if (!sets && key.len > 1 && key.p[key.len - 1] == '-') {
        strbuf_add(&name, key.p, key.len - 1);
        json_set(patch, strbuf_text(&name), NULL);
        return 0;
    }
    if (!sets || key.len == 0) {
        return FAIL(why, -ERR_SYNTAX, "%s: write KEY=VALUE, or KEY- to take it off", word);
    }
    strbuf_add(&name, key.p, key.len);
    json_set(patch, strbuf_text(&name), json_new_strn(value.p, value.len));
    return 0;
}

int label_change_read(char *const *words, unsigned count, struct json **out, struct diag *why)
{
    AUTO(json) struct json *patch = json_new_object();

    for (unsigned i = 0; i < count; i++) {
        int r = read_one(words[i], patch, why);
        if (r < 0) {
            return r;
        }
    }
    *out = MOVE(patch);
    return 0;
}

const char *label_change_conflict(const struct json *labels, const struct json *patch)
{
    struct json_iter it = {0};

    while (json_each(patch, &it)) {
        const char *old = json_str(json_get(labels, it.key), NULL);
        const char *value = json_str(it.value, NULL);
        if (old && value && strcmp(old, value) != 0) {
            return it.key;
        }
    }
    return NULL;
}

bool label_change_is_needed(const struct json *labels, const struct json *patch)
{
    struct json_iter it = {0};

    while (json_each(patch, &it)) {
        const char *old = json_str(json_get(labels, it.key), NULL);
        const char *value = json_str(it.value, NULL);
        bool same = old && value ? strcmp(old, value) == 0 : !old && !value;
        if (!same) {
            return true;
        }
    }
    return false;
}
