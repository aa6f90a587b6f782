/* SPDX-License-Identifier: Apache-2.0 */
#include "node/local_spec.h"

#include <string.h>

#include "codec/name.h"

/* Names become parts of paths, host names and identities. */
static int read_name(const struct json *j, const char *key, const char *fallback, const char **out,
                     struct diag *why)
{
    const char *s = json_str(json_get(j, key), fallback);

    if (!s || name_problem(NAME_LABEL, s)) {
        return FAIL(why, -ERR_SYNTAX, "%s: lower-case letters, digits and '-' are needed", key);
    }
    *out = s;
    return 0;
}

static int read_texts(const struct json *j, const char *key, size_t max, const struct json **out,
                      struct diag *why)
{
    const struct json *array = json_get(j, key);

    if (array && !json_is_arr(array)) {
        return FAIL(why, -ERR_SYNTAX, "%s: a list of texts is needed", key);
    }
    if (json_count(array) > max) {
        return FAIL(why, -ERR_RANGE, "%s: at most %zu", key, max);
    }
    for (size_t i = 0; i < json_count(array); i++) {
        if (json_kind(json_item(array, i)) != JSON_KIND_STRING) {
            return FAIL(why, -ERR_SYNTAX, "%s: a list of texts is needed", key);
        }
    }
    *out = array;
    return 0;
}

static int read_labels(const struct json *j, const struct json **out, struct diag *why)
{
    const struct json *labels = json_get(j, "labels");

    if (labels && (!json_is_obj(labels) || json_count(labels) > LOCAL_LABELS_MAX)) {
        return FAIL(why, -ERR_SYNTAX, "labels: at most %d texts by key", LOCAL_LABELS_MAX);
    }
    for (struct json_iter it = {0}; json_each(labels, &it);) {
        if (json_kind(it.value) != JSON_KIND_STRING) {
            return FAIL(why, -ERR_SYNTAX, "label %s: a text is needed", it.key);
        }
    }
    *out = labels;
    return 0;
}

static int read_restart(const struct json *j, enum local_restart *out, struct diag *why)
{
    static const char *const names[] = {
        [LOCAL_RESTART_NEVER] = "never",
        [LOCAL_RESTART_ON_FAILURE] = "on-failure",
        [LOCAL_RESTART_ALWAYS] = "always",
    };
    const char *s = json_str(json_get(j, "restart"), names[LOCAL_RESTART_NEVER]);

    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (strcmp(s, names[i]) == 0) {
            *out = (enum local_restart)i;
            return 0;
        }
    }
    return FAIL(why, -ERR_SYNTAX, "restart: never, on-failure or always");
}

static int read_names(const struct json *j, struct local_spec *s, struct diag *why)
{
    int r = read_name(j, "namespace", NULL, &s->namespace, why);

    if (r == 0) {
        r = read_name(j, "name", NULL, &s->name, why);
    }
    return r < 0 ? r : read_name(j, "serviceAccount", "default", &s->service_account, why);
}

static int read_lists(const struct json *j, struct local_spec *s, struct diag *why)
{
    int r = read_texts(j, "command", LOCAL_ARGS_MAX, &s->command, why);

    if (r == 0 &&
        (json_count(s->command) == 0 || json_str(json_item(s->command, 0), "")[0] == '\0')) {
        return FAIL(why, -ERR_SYNTAX, "command: nothing to run");
    }
    if (r == 0) {
        r = read_texts(j, "env", LOCAL_ENV_MAX, &s->env, why);
    }
    return r < 0 ? r : read_labels(j, &s->labels, why);
}

int local_spec_read(const struct json *j, struct local_spec *out, struct diag *why)
{
    struct local_spec s = {
        .json = j,
        .user = json_str(json_get(j, "user"), "nobody"),
        .workdir = json_str(json_get(j, "workdir"), "/"),
        .waypoint = json_str(json_get(j, "waypoint"), NULL),
        .allow_root = json_bool(json_get(j, "allowRoot"), false),
    };
    int r = read_names(j, &s, why);

    if (r == 0) {
        r = read_lists(j, &s, why);
    }
    if (r == 0) {
        r = read_restart(j, &s.restart, why);
    }
    if (r == 0 && s.workdir[0] != '/') {
        r = FAIL(why, -ERR_SYNTAX, "workdir: an absolute path is needed");
    }
    if (r == 0) {
        *out = s;
    }
    return r;
}
