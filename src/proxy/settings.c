/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/settings.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/env.h"
#include "base/mem.h"

static const char mounted_token[] = "./var/run/secrets/tokens/istio-token";
static const char mounted_root[] = "./var/run/secrets/istio/root-cert.pem";

#define ROW(name, kind, field, otherwise)                                                          \
    {                                                                                              \
        (name), (kind), offsetof(struct proxy_settings, field), (otherwise)                        \
    }

static const struct env_row rows[] = {
    ROW("XDS_ROOT_CA", ENV_TEXT, xds_root_ca, mounted_root),
    ROW("CA_ROOT_CA", ENV_TEXT, ca_root_ca, mounted_root),
    ROW("ALT_XDS_HOSTNAME", ENV_OPTIONAL, alt_xds_host, NULL),
    ROW("ALT_CA_HOSTNAME", ENV_OPTIONAL, alt_ca_host, NULL),
    ROW("AUTH_TOKEN", ENV_OPTIONAL, auth_token, NULL),
    ROW("TRUST_DOMAIN", ENV_TEXT, trust_domain, "cluster.local"),
    ROW("ISTIO_META_ISTIO_VERSION", ENV_TEXT, istio_version, "unknown"),
    ROW("SECRET_TTL", ENV_DURATION, secret_ttl_ms, "24h"),
    ROW("IPV6_ENABLED", ENV_BOOL, ipv6, "true"),
};

static bool has_prefix(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

/* XDS_ADDRESS or CA_ADDRESS (name), or the usual place, with its scheme; the caller's. "" was asked
 * for. */
static char *read_address(char *const *env, const char *name)
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

void proxy_settings_add_metadata(struct proxy_settings *s, char *const *env)
{
    static const char *const prefixes[] = {"ISTIO_META_", "ISTIO_METAJSON_"};

    for (size_t kind = 0; kind < ARRAY_LEN(prefixes); kind++) { /* later sources win */
        for (char *const *e = env; e && *e; e++) {
            const char *equal = strchr(*e, '=');
            size_t skip = strlen(prefixes[kind]);
            if (equal && has_prefix(*e, prefixes[kind]) && equal > *e + skip) {
                metadata_add(s->metadata, *e + skip, (size_t)(equal - *e) - skip, equal + 1,
                             kind == 1);
            }
        }
    }
}

/* Each variable "<prefix>NAME=value" is a header of every call. */
static int read_headers(struct message *out, char *const *env, const char *prefix, struct diag *why)
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

static char *text_of(char *const *env, const char *name, const char *otherwise)
{
    const char *text = env_get(env, name);

    return mem_strdup(text ? text : otherwise);
}

static int read_link(struct proxy_settings *s, char *const *env, struct diag *why)
{
    s->xds_address = read_address(env, "XDS_ADDRESS");
    s->ca_address = read_address(env, "CA_ADDRESS");
    if (s->ca_address[0] == '\0') {
        return FAIL(why, -ERR_SYNTAX, "CA_ADDRESS: must not be empty");
    }
    if (!s->auth_token && access(mounted_token, F_OK) == 0) {
        s->auth_token = mem_strdup(mounted_token);
    }
    const char *cluster = env_get(env, "CLUSTER_ID");
    s->cluster_id = text_of(env, "ISTIO_META_CLUSTER_ID", cluster ? cluster : "Kubernetes");
    int r = read_headers(&s->xds_headers, env, "XDS_HEADER_", why);
    return r < 0 ? r : read_headers(&s->ca_headers, env, "CA_HEADER_", why);
}

int proxy_settings_read(struct proxy_settings *out, const char *level_variable, char *const *env,
                        struct diag *why)
{
    const char *format = env_get(env, "LOG_FORMAT");
    int r = env_rows_read(out, rows, ARRAY_LEN(rows), env, why);

    out->log_level = text_of(env, level_variable, "info");
    out->log_json = format && strcmp(format, "json") == 0;
    out->metadata = json_new_object();
    return r < 0 ? r : read_link(out, env, why);
}

void proxy_settings_fini(struct proxy_settings *s)
{
    env_rows_fini(s, rows, ARRAY_LEN(rows));
    mem_free(s->xds_address);
    mem_free(s->ca_address);
    mem_free(s->cluster_id);
    mem_free(s->log_level);
    json_unref(s->metadata);
    message_fini(&s->xds_headers);
    message_fini(&s->ca_headers);
    *s = (struct proxy_settings){.workers = 0};
}
