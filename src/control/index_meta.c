/* SPDX-License-Identifier: Apache-2.0 */
/* What several kinds of objects are asked in the same way. */
#include "control/index_meta.h"

#include <string.h>
#include <time.h>

const char *meta_label(const struct json *object, const char *key)
{
    return json_str(json_get(json_object_at(object, "metadata.labels"), key), "");
}

const char *meta_annotation(const struct json *object, const char *key)
{
    return json_str(json_get(json_object_at(object, "metadata.annotations"), key), "");
}

const char *meta_ns(const struct json *object)
{
    return json_str_at(object, "metadata.namespace", "");
}

const char *meta_name(const struct json *object)
{
    return json_str_at(object, "metadata.name", "");
}

int64_t meta_created_s(const struct json *object)
{
    struct tm tm = {.tm_year = 0};
    const char *text = json_str_at(object, "metadata.creationTimestamp", "");

    return strptime(text, "%Y-%m-%dT%H:%M:%SZ", &tm) ? (int64_t)timegm(&tm) : 0;
}

bool bypass_is_allowed(const struct json *object)
{
    return strcmp(meta_annotation(object, "ambit.io/waypoint-bypass"), "allow") == 0;
}

/* ---- label selectors */

static bool expression_matches(const struct json *e, const struct labels *l)
{
    const char *value = labels_get(l, json_str_at(e, "key", ""));
    const char *how = json_str_at(e, "operator", "");
    const struct json *values = json_get(e, "values");

    if (strcmp(how, "In") == 0) {
        return value && json_has_str(values, value);
    }
    if (strcmp(how, "NotIn") == 0) {
        return !value || !json_has_str(values, value);
    }
    if (strcmp(how, "Exists") == 0) {
        return value != NULL;
    }
    return strcmp(how, "DoesNotExist") == 0 && !value;
}

bool label_selector_matches(const struct json *selector, const struct labels *l)
{
    const struct json *expressions = json_get(selector, "matchExpressions");
    bool good = json_is_obj(selector);

    for (struct json_iter it = {0}; json_each(json_object_at(selector, "matchLabels"), &it);) {
        const char *value = labels_get(l, it.key);
        good = good && value && strcmp(value, json_str(it.value, "")) == 0;
    }
    for (size_t i = 0; i < json_count(expressions); i++) {
        good = good && expression_matches(json_item(expressions, i), l);
    }
    return good;
}
