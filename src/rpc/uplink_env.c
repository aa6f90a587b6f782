/* SPDX-License-Identifier: Apache-2.0 */
#include "rpc/uplink_env.h"

#include <stdio.h>
#include <string.h>

#include "base/env.h"
#include "base/mem.h"

static bool has_prefix(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

char *uplink_env_address(char *const *env, const char *name)
{
    const char *otherwise = env_get(env, "KUBERNETES_SERVICE_HOST")
                                ? "https://istiod.istio-system.svc:15012"
                                : "https://localhost:15012";
    const char *given = env_get(env, name);
    const char *text = given ? given : otherwise;
    AUTO(strbuf) struct strbuf b = {0};

    if (text[0] != '\0' && !strstr(text, "://")) {
        strbuf_puts(&b, "https://");
    }
    strbuf_puts(&b, text);
    return strbuf_take(&b);
}

/* One ISTIO_META_* or ISTIO_METAJSON_* variable into the node's metadata. */
static void metadata_add(struct json *object, const char *name, size_t name_len, const char *value,
                         bool is_json)
{
    AUTO(text) char *key = mem_dup(name, name_len);
    struct json *parsed = NULL;
    struct diag why;

    if (!is_json) {
        json_set_str(object, key, value);
    } else if (json_parse(&parsed, value, strlen(value), NULL, &why) == 0) {
        json_set(object, key, parsed);
    } else {
        (void)fprintf(stderr, "ISTIO_METAJSON_%s: %s\n", key,
                      why.text); /* not fatal: contract 1.5 */
    }
}

void uplink_env_metadata(struct json *into, char *const *env)
{
    static const char *const prefixes[] = {"ISTIO_META_", "ISTIO_METAJSON_"};

    for (size_t kind = 0; kind < ARRAY_LEN(prefixes); kind++) { /* later sources win */
        for (char *const *e = env; e && *e; e++) {
            const char *equal = strchr(*e, '=');
            size_t skip = strlen(prefixes[kind]);
            if (equal && has_prefix(*e, prefixes[kind]) && equal > *e + skip) {
                metadata_add(into, *e + skip, (size_t)(equal - *e) - skip, equal + 1, kind == 1);
            }
        }
    }
}

int uplink_env_headers(struct message *out, char *const *env, const char *prefix, struct diag *why)
{
    message_init(out, 0);
    for (; env && *env; env++) {
        const char *equal = strchr(*env, '=');
        if (!equal || !has_prefix(*env, prefix)) {
            continue;
        }
        struct slice name = {*env + strlen(prefix), (size_t)(equal - *env) - strlen(prefix)};
        for (const char *p = equal + 1; *p; p++) {
            if (*p < ' ' || *p == 0x7f) {
                return FAIL(why, -ERR_SYNTAX, "%.*s: holds a control character",
                            (int)(equal - *env), *env);
            }
        }
        if (name.len == 0) {
            return FAIL(why, -ERR_SYNTAX, "%s: no header name", prefix);
        }
        message_add(out, name, slice_of(equal + 1));
    }
    return 0;
}

char *uplink_env_cluster(char *const *env)
{
    const char *cluster = env_get(env, "ISTIO_META_CLUSTER_ID");

    cluster = cluster ? cluster : env_get(env, "CLUSTER_ID");
    return mem_strdup(cluster ? cluster : "Kubernetes");
}
