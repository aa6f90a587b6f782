/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/query.h"

#include <string.h>

#include "base/mem.h"
#include "base/num.h"
#include "codec/url.h"

enum { VALUE_BYTES = 64 << 10 };

enum value_type { VALUE_TEXT, VALUE_BOOL, VALUE_INT };

static const struct {
    const char *name;
    enum value_type type;
    size_t at;
    size_t present; /* offset of a bool that says "was given"; 0 = none */
} parameters[] = {
    {"labelSelector", VALUE_TEXT, offsetof(struct query, label_selector), 0},
    {"fieldSelector", VALUE_TEXT, offsetof(struct query, field_selector), 0},
    {"continue", VALUE_TEXT, offsetof(struct query, continue_token), 0},
    {"resourceVersion", VALUE_TEXT, offsetof(struct query, resource_version), 0},
    {"resourceVersionMatch", VALUE_TEXT, offsetof(struct query, version_match), 0},
    {"fieldManager", VALUE_TEXT, offsetof(struct query, field_manager), 0},
    {"fieldValidation", VALUE_TEXT, offsetof(struct query, field_validation), 0},
    {"dryRun", VALUE_TEXT, offsetof(struct query, dry_run), 0},
    {"includeObject", VALUE_TEXT, offsetof(struct query, include_object), 0},
    {"propagationPolicy", VALUE_TEXT, offsetof(struct query, propagation), 0},
    {"watch", VALUE_BOOL, offsetof(struct query, watch), 0},
    {"allowWatchBookmarks", VALUE_BOOL, offsetof(struct query, bookmarks), 0},
    {"sendInitialEvents", VALUE_BOOL, offsetof(struct query, initial_events),
     offsetof(struct query, has_initial_events)},
    {"force", VALUE_BOOL, offsetof(struct query, force), 0},
    {"pretty", VALUE_BOOL, offsetof(struct query, pretty), 0},
    {"gracePeriodSeconds", VALUE_INT, offsetof(struct query, grace_s),
     offsetof(struct query, has_grace)},
    {"limit", VALUE_INT, offsetof(struct query, limit), 0},
    {"timeoutSeconds", VALUE_INT, offsetof(struct query, timeout_s), 0},
};

static void *member(struct query *q, size_t offset)
{
    return (char *)q + offset;
}

static int set_value(struct query *q, size_t i, const struct strbuf *value, struct diag *why)
{
    const char *text = strbuf_text(value);
    void *at = member(q, parameters[i].at);
    uint64_t n = 0;

    switch (parameters[i].type) {
    case VALUE_TEXT:
        mem_free(*(char **)at);
        *(char **)at = mem_strdup(text);
        break;
    case VALUE_BOOL: /* anything but these is true */
        *(bool *)at = strcmp(text, "false") != 0 && strcmp(text, "0") != 0;
        break;
    case VALUE_INT:
        if (num_parse_u64(text, value->len, INT32_MAX, &n) < 0) {
            return FAIL(why, -ERR_SYNTAX, "%s: \"%.40s\" is not a number", parameters[i].name,
                        text);
        }
        *(int64_t *)at = (int64_t)n;
        break;
    }
    if (parameters[i].present > 0) {
        *(bool *)member(q, parameters[i].present) = true;
    }
    return 0;
}

static int set_parameter(struct query *q, struct slice key, struct slice raw, struct diag *why)
{
    for (size_t i = 0; i < ARRAY_LEN(parameters); i++) {
        if (slice_is(key, parameters[i].name)) {
            AUTO(strbuf) struct strbuf value = {.limit = VALUE_BYTES};
            if (url_decode(&value, raw, URL_FORM) < 0 || value.overflow) {
                return FAIL(why, -ERR_SYNTAX, "%s: broken or too long", parameters[i].name);
            }
            return set_value(q, i, &value, why);
        }
    }
    return 0;
}

static void fill_empty(struct query *q)
{
    for (size_t i = 0; i < ARRAY_LEN(parameters); i++) {
        char **at = member(q, parameters[i].at);
        if (parameters[i].type == VALUE_TEXT && !*at) {
            *at = mem_strdup("");
        }
    }
}

int query_parse(struct slice text, struct diag *why, struct query *out)
{
    struct query q = {0};
    struct slice key;
    struct slice value;
    int r = 0;

    while (r == 0 && url_query_next(&text, &key, &value)) {
        r = set_parameter(&q, key, value, why);
    }
    if (r < 0) {
        query_fini(&q);
        return r;
    }
    fill_empty(&q);
    *out = q;
    return 0;
}

void query_fini(struct query *q)
{
    for (size_t i = 0; i < ARRAY_LEN(parameters); i++) {
        if (parameters[i].type == VALUE_TEXT) {
            char **at = member(q, parameters[i].at);
            mem_free(*at);
            *at = NULL;
        }
    }
}
