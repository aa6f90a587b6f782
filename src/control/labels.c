/* SPDX-License-Identifier: Apache-2.0 */
#include "control/labels.h"

#include <string.h>

#include "base/mem.h"
#include "base/num.h"

void labels_read(struct labels *out, const struct json *object, struct intern *pool)
{
    size_t room = json_is_obj(object) ? MIN_OF(json_count(object), (size_t)LABELS_MAX) : 0;

    *out = (struct labels){.at = room > 0 ? mem_array(room, sizeof(*out->at)) : NULL};
    for (struct json_iter it = {0}; room > 0 && out->count < room && json_each(object, &it);) {
        const char *value = json_str(it.value, NULL);
        if (value) {
            out->at[out->count++] =
                (struct label){intern_text(pool, it.key), intern_text(pool, value)};
        }
    }
}

void labels_fini(struct labels *l)
{
    for (unsigned i = 0; i < l->count; i++) {
        text_unref(l->at[i].key);
        text_unref(l->at[i].value);
    }
    mem_free(l->at);
    *l = (struct labels){.at = NULL};
}

const char *labels_get(const struct labels *l, const char *key)
{
    for (unsigned i = 0; i < l->count; i++) {
        if (strcmp(l->at[i].key, key) == 0) {
            return l->at[i].value;
        }
    }
    return NULL;
}

static bool has_label(const struct labels *l, const struct label *wanted)
{
    for (unsigned i = 0; i < l->count; i++) {
        if (l->at[i].key == wanted->key) {
            return l->at[i].value == wanted->value;
        }
    }
    return false;
}

bool labels_match(const struct labels *selector, const struct labels *l)
{
    for (unsigned i = 0; i < selector->count; i++) {
        if (!has_label(l, &selector->at[i])) {
            return false;
        }
    }
    return true;
}

bool labels_equal(const struct labels *a, const struct labels *b)
{
    return a->count == b->count && labels_match(a, b);
}
