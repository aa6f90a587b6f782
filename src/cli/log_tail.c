/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/log_tail.h"

#include <poll.h>

#include "base/mem.h"
#include "base/str.h"
#include "cli/node_ask.h"
#include "cli/view.h"
#include "codec/json.h"

enum { FOLLOW_MS = 500 };

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

enum answer log_tail_nodes_blocking(struct log_tail *t, struct cli *c, struct json *rows)
{
    AUTO(json) struct json *pages = NULL;
    enum answer answer = nodes_page_blocking(c, "/access/recent", &pages);

    for (struct json_iter it = {0}; json_each(pages, &it);) {
        AUTO(json) struct json *fresh = log_tail_take(t, it.key, it.value);
        view_access(fresh, it.key, rows);
    }
    return json_count(pages) == 0 ? ANSWER_UNKNOWN : answer;
}

enum answer log_follow_blocking(struct cli *c, log_show_fn *show)
{
    AUTO(log_tail) struct log_tail *tail = log_tail_new();
    bool follow = args_has(&c->args, "follow");
    enum answer answer = show(c, tail);

    while (follow && answer == ANSWER_YES && c->term.failure == 0) {
        (void)poll(NULL, 0, FOLLOW_MS); /* a signal only makes us look earlier */
        answer = show(c, tail);
        if (log_tail_has_lost(tail)) {
            (void)cli_fail(c, ANSWER_YES, NULL,
                           "records came faster than they could be read; some are missing here");
        }
    }
    return answer;
}
