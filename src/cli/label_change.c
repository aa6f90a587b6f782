/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/label_change.h"

#include <string.h>

#include "base/str.h"
#include "cli/near.h"
#include "codec/json.h"

static int read_one(const char *word, struct json *patch, struct diag *why)
{
    struct slice key;
    struct slice value;
    AUTO(strbuf) struct strbuf name = {0};
    bool sets = slice_cut(slice_of(word), '=', &key, &value);
    bool takes = !sets && key.len > 1 && key.p[key.len - 1] == '-';

    if (key.len == 0 || (!sets && !takes)) {
        return FAIL(why, -ERR_SYNTAX, "%s: write KEY=VALUE, or KEY- to take it off", word);
    }
    strbuf_add(&name, key.p, takes ? key.len - 1 : key.len);
    if (json_get(patch, strbuf_text(&name))) {
        return FAIL(why, -ERR_SYNTAX, "%s: %s is said twice", word, strbuf_text(&name));
    }
    json_set(patch, strbuf_text(&name), sets ? json_new_strn(value.p, value.len) : json_new_null());
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

/* Keys that take these values alone: names of waypoints are anybody's, and a boolean has many ways. */
static const struct valued {
    const char *key;
    const char *values[5]; /* NULL at the end */
} valued[] = {
    {"istio.io/dataplane-mode", {"ambient", "none"}},
    {"istio.io/waypoint-for", {"service", "workload", "all", "none"}},
};

static bool takes(const struct valued *v, const char *value, const char **out_best,
                  struct strbuf *out_words)
{
    *out_best = NULL;
    for (const char *const *one = v->values; *one; one++) {
        if (strcmp(*one, value) == 0) {
            return true;
        }
        *out_best = near_best(value, *out_best, *one);
        strbuf_puts(out_words, one == v->values ? "" : one[1] ? ", " : " or ");
        strbuf_puts(out_words, *one);
    }
    return false;
}

int label_change_check(const struct json *patch, const char **out_key, const char **out_value,
                       struct diag *why)
{
    for (size_t i = 0; i < ARRAY_LEN(valued); i++) {
        const char *value = json_str(json_get(patch, valued[i].key), NULL);
        AUTO(strbuf) struct strbuf words = {0};
        const char *best = NULL;
        if (value && !takes(&valued[i], value, &best, &words)) {
            *out_key = valued[i].key;
            *out_value = best;
            return FAIL(why, -ERR_SYNTAX, "%s=%.40s means nothing; write %s", valued[i].key, value,
                        strbuf_text(&words));
        }
    }
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

/* The key that was meant; NULL where this one is fine. */
static const char *meant(const char *key)
{
    static const char *const known[] = {"istio.io/dataplane-mode", "istio.io/use-waypoint",
                                        "istio.io/use-waypoint-namespace", "istio.io/waypoint-for",
                                        "istio.io/ingress-use-waypoint"};
    const char *best = NULL;

    for (size_t i = 0; i < ARRAY_LEN(known); i++) {
        if (strcmp(key, known[i]) == 0) {
            return NULL;
        }
        best =
            strcmp(key, strchr(known[i], '/') + 1) == 0 ? known[i] : near_best(key, best, known[i]);
    }
    return best;
}

void label_change_hints(const struct json *patch, struct strbuf *out)
{
    struct json_iter it = {0};

    while (json_each(patch, &it)) {
        const char *best = meant(it.key);
        if (json_kind(it.value) != JSON_KIND_STRING) {
            continue;
        }
        if (best) {
            strbuf_printf(out, "%s means nothing here; did you mean %s?\n", it.key, best);
        } else if (strcmp(it.key, "istio-injection") == 0 ||
                   strcmp(it.key, "sidecar.istio.io/inject") == 0) {
            strbuf_printf(out,
                          "%s means nothing here, where there are no sidecars; write "
                          "istio.io/dataplane-mode=ambient\n",
                          it.key);
        }
    }
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
