/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/log_tail.h"

#include "base/mem.h"
#include "base/str.h"
#include "codec/json.h"

struct log_tail {
    struct json *seen; /* by node: an object whose keys are the records of its last answer */
    bool lost;
};

struct log_tail *log_tail_new(void)
{
    struct log_tail *t = mem_new(struct log_tail);

    t->seen = json_new_object();
    return t;
}

void log_tail_free(struct log_tail *t)
{
    if (t) {
        json_unref(t->seen);
        mem_free(t);
    }
}

struct json *log_tail_take(struct log_tail *t, const char *node, const struct json *records)
{
    struct json *fresh = json_new_array();
    struct json *now = json_new_object();
    const struct json *before = json_get(t->seen, node);
    AUTO(strbuf) struct strbuf key = {0};
    size_t known = 0;

    for (size_t i = 0; i < json_count(records); i++) {
        strbuf_clear(&key);
        json_print(json_item(records, i), JSON_PRINT_SORTED, &key);
        json_set_bool(now, strbuf_text(&key), true);
        if (json_get(before, strbuf_text(&key))) {
            known++;
        } else {
            json_append(fresh, json_ref(json_item(records, i)));
        }
    }
    t->lost |= json_count(before) > 0 && known == 0 && json_count(records) > 0;
    json_set(t->seen, node, now);
    return fresh;
}

bool log_tail_has_lost(struct log_tail *t)
{
    bool lost = t->lost;

    t->lost = false;
    return lost;
}
