/* SPDX-License-Identifier: Apache-2.0 */
#include "ztunnel/config.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/num.h"

enum row_kind {
    ROW_TEXT,
    ROW_OPTIONAL, /* text; NULL where the variable is not set */
    ROW_BOOL,
    ROW_U32,
    ROW_U16,
    ROW_DURATION,
    ROW_ORIG_SRC
};

struct row {
    const char *name;
    enum row_kind kind;
    size_t offset;
    const char *otherwise; /* the default, in the variable's own syntax */
};

#define ROW(name, kind, field, otherwise)                                                          \
    {                                                                                              \
        (name), (kind), offsetof(struct config, field), (otherwise)                                \
    }

static const struct row rows[] = {
    ROW("ENABLE_PROXY", ROW_BOOL, proxy, "true"),
    ROW("XDS_ROOT_CA", ROW_TEXT, xds_root_ca, "./var/run/secrets/istio/root-cert.pem"),
    ROW("CA_ROOT_CA", ROW_TEXT, ca_root_ca, "./var/run/secrets/istio/root-cert.pem"),
    ROW("ALT_XDS_HOSTNAME", ROW_OPTIONAL, alt_xds_host, NULL),
    ROW("ALT_CA_HOSTNAME", ROW_OPTIONAL, alt_ca_host, NULL),
    ROW("AUTH_TOKEN", ROW_OPTIONAL, auth_token, NULL),
    ROW("NETWORK", ROW_TEXT, network, ""),
    ROW("NODE_NAME", ROW_TEXT, node_name, ""),
    ROW("CLUSTER_DOMAIN", ROW_TEXT, cluster_domain, "cluster.local"),
    ROW("PREFERED_SERVICE_NAMESPACE", ROW_OPTIONAL, preferred_service_namespace, NULL),
    ROW("INSTANCE_IP", ROW_TEXT, instance_ip, "1.1.1.1"),
    ROW("POD_NAME", ROW_TEXT, pod_name, ""),
    ROW("POD_NAMESPACE", ROW_TEXT, pod_namespace, ""),
    ROW("SERVICE_ACCOUNT", ROW_TEXT, service_account, ""),
    ROW("TRUST_DOMAIN", ROW_TEXT, trust_domain, "cluster.local"),
    ROW("ISTIO_META_ISTIO_VERSION", ROW_TEXT, istio_version, "unknown"),
    ROW("INPOD_UDS", ROW_TEXT, inpod_uds, "/var/run/ztunnel/ztunnel.sock"),
    ROW("RUST_LOG", ROW_TEXT, log_level, "info"),
    ROW("SECRET_TTL", ROW_DURATION, secret_ttl_ms, "24h"),
    ROW("PACKET_MARK", ROW_U32, packet_mark, "1337"),
    ROW("INPOD_PORT_REUSE", ROW_BOOL, port_reuse, "true"),
    ROW("ENABLE_ORIG_SRC", ROW_ORIG_SRC, orig_src, ""),
    ROW("KEEPALIVE_ENABLED", ROW_BOOL, keepalive_enabled, "true"),
    ROW("KEEPALIVE_TIME", ROW_DURATION, keepalive_time_ms, "180s"),
    ROW("KEEPALIVE_INTERVAL", ROW_DURATION, keepalive_interval_ms, "180s"),
    ROW("KEEPALIVE_RETRIES", ROW_U32, keepalive_retries, "9"),
    ROW("USER_TIMEOUT_ENABLED", ROW_BOOL, user_timeout, "false"),
    ROW("POOL_MAX_STREAMS_PER_CONNECTION", ROW_U16, pool_streams, "100"),
    ROW("POOL_UNUSED_RELEASE_TIMEOUT", ROW_DURATION, pool_idle_ms, "5m"),
    ROW("HTTP2_STREAM_WINDOW_SIZE", ROW_U32, stream_window_bytes, "4194304"),
    ROW("HTTP2_CONNECTION_WINDOW_SIZE", ROW_U32, connection_window_bytes, "16777216"),
    ROW("HTTP2_FRAME_SIZE", ROW_U32, frame_bytes, "1048576"),
    ROW("IPV6_ENABLED", ROW_BOOL, ipv6, "true"),
    ROW("LOCALHOST_APP_TUNNEL", ROW_BOOL, localhost_app_tunnel, "true"),
    ROW("ENABLE_RESPONSE_BAGGAGE", ROW_BOOL, response_baggage, "true"),
};

static const char *env_get(char *const *env, const char *name)
{
    size_t n = strlen(name);

    for (; env && *env; env++) {
        if (strncmp(*env, name, n) == 0 && (*env)[n] == '=') {
            return *env + n + 1;
        }
    }
    return NULL;
}

static bool has_prefix(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

static int parse_bool(const char *text, bool *out)
{
    if (strcmp(text, "true") != 0 && strcmp(text, "false") != 0) {
        return -ERR_SYNTAX;
    }
    *out = text[0] == 't';
    return 0;
}

static int parse_orig_src(const char *text, enum orig_src *out)
{
    bool always = false;

    if (text[0] == '\0') {
        *out = ORIG_SRC_TRY;
        return 0;
    }
    int r = parse_bool(text, &always);
    if (r == 0) {
        *out = always ? ORIG_SRC_ALWAYS : ORIG_SRC_NEVER;
    }
    return r;
}

static int row_parse(const struct row *row, const char *text, void *field)
{
    switch (row->kind) {
    case ROW_TEXT:
    case ROW_OPTIONAL:
        *(char **)field = text ? mem_strdup(text) : NULL;
        return 0;
    case ROW_BOOL:
        return parse_bool(text, field);
    case ROW_U32:
        return num_parse_u32(text, strlen(text), UINT32_MAX, field);
    case ROW_U16:
        return num_parse_u32(text, strlen(text), UINT16_MAX, field);
    case ROW_DURATION:
        return num_parse_duration_ms(text, strlen(text), field);
    case ROW_ORIG_SRC:
        return parse_orig_src(text, field);
    }
    return -ERR_SYNTAX;
}

static const char *row_wants(enum row_kind kind)
{
    switch (kind) {
    case ROW_BOOL:
    case ROW_ORIG_SRC:
        return "true or false";
    case ROW_U32:
        return "a number";
    case ROW_U16:
        return "a number up to 65535";
    case ROW_DURATION:
        return "a duration such as 5s or 1m30s";
    case ROW_TEXT:
    case ROW_OPTIONAL:
        break;
    }
    return "text";
}

static int read_rows(struct config *c, char *const *env, struct diag *why)
{
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const char *text = env_get(env, rows[i].name);
        text = text ? text : rows[i].otherwise;
        int r = row_parse(&rows[i], text, (char *)c + rows[i].offset);
        if (r < 0) {
            return FAIL(why, r, "%s: '%.40s' is not %s", rows[i].name, text,
                        row_wants(rows[i].kind));
        }
    }
    return 0;
}

static char *normal_address(const char *text)
{
    AUTO(strbuf) struct strbuf b = {0};

    if (text[0] != '\0' && !strstr(text, "://")) {
        strbuf_puts(&b, "https://");
    }
    strbuf_puts(&b, text);
    return strbuf_take(&b);
}

static int read_addresses(struct config *c, char *const *env, struct diag *why)
{
    const char *otherwise = env_get(env, "KUBERNETES_SERVICE_HOST")
                                ? "https://istiod.istio-system.svc:15012"
                                : "https://localhost:15012";
    const char *xds = env_get(env, "XDS_ADDRESS");
    const char *ca = env_get(env, "CA_ADDRESS");

    c->xds_address = normal_address(xds ? xds : otherwise);
    c->ca_address = normal_address(ca ? ca : otherwise);
    if (c->ca_address[0] == '\0') {
        return FAIL(why, -ERR_SYNTAX, "CA_ADDRESS: must not be empty");
    }
    if (!c->auth_token && access("./var/run/secrets/tokens/istio-token", F_OK) == 0) {
        c->auth_token = mem_strdup("./var/run/secrets/tokens/istio-token");
    }
    return 0;
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

static void read_metadata(struct config *c, char *const *env)
{
    static const char *const prefixes[] = {"ISTIO_META_", "ISTIO_METAJSON_"};

    c->metadata = json_new_object();
    json_set_str(c->metadata, "NAME", c->pod_name);
    json_set_str(c->metadata, "NAMESPACE", c->pod_namespace);
    json_set_str(c->metadata, "INSTANCE_IPS", c->instance_ip);
    json_set_str(c->metadata, "NODE_NAME", c->node_name);
    for (size_t kind = 0; kind < ARRAY_LEN(prefixes); kind++) { /* later sources win */
        for (char *const *e = env; e && *e; e++) {
            const char *equal = strchr(*e, '=');
            size_t skip = strlen(prefixes[kind]);
            if (equal && has_prefix(*e, prefixes[kind]) && equal > *e + skip) {
                metadata_add(c->metadata, *e + skip, (size_t)(equal - *e) - skip, equal + 1,
                             kind == 1);
            }
        }
    }
}

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

/* "2", "500m", "1.5": CPUs, rounded up (contract 1.5.1). */
static int parse_cpus(const char *name, const char *text, unsigned *out, struct diag *why)
{
    size_t n = strlen(text);
    bool milli = n > 1 && text[n - 1] == 'm';
    const char *dot = strchr(text, '.');
    size_t whole = dot ? (size_t)(dot - text) : milli ? n - 1 : n;
    uint32_t v = 0;

    if (num_parse_u32(text, whole, 1000000, &v) < 0) {
        return FAIL(why, -ERR_SYNTAX, "%s: '%.40s' is not a CPU quantity", name, text);
    }
    *out = milli ? (v + 999) / 1000 : v + (dot ? 1u : 0u);
    return 0;
}

static unsigned cpu_count(char *const *env)
{
    const char *text = env_get(env, "ZTUNNEL_CPU_LIMIT");
    uint32_t n = 0;

    if (text && num_parse_u32(text, strlen(text), 4096, &n) == 0 && n > 0) {
        return n;
    }
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    return cores > 0 ? (unsigned)cores : 1;
}

static int parse_workers(struct config *c, const char *text, unsigned cpus, struct diag *why)
{
    size_t n = strlen(text);
    bool percent = n > 1 && text[n - 1] == '%';
    uint32_t v = 0;

    if (num_parse_u32(text, percent ? n - 1 : n, 4096, &v) < 0 ||
        (percent && (v == 0 || v > 100))) {
        return FAIL(why, -ERR_SYNTAX, "ZTUNNEL_WORKER_THREADS: '%.40s' is no number or percentage",
                    text);
    }
    c->workers = percent ? (cpus * v + 99) / 100 : v == 0 ? cpus : v;
    return 0;
}

static int read_workers(struct config *c, char *const *env, struct diag *why)
{
    const char *text = env_get(env, "ZTUNNEL_WORKER_THREADS");
    const char *limit = env_get(env, "ZTUNNEL_RESOURCE_CPU_LIMIT");
    const char *request = env_get(env, "ZTUNNEL_RESOURCE_CPU_REQUEST");
    unsigned cpus = cpu_count(env);
    unsigned wanted = 0;
    int r = 0;

    if (text) {
        return parse_workers(c, text, cpus, why);
    }
    if (request) {
        r = parse_cpus("ZTUNNEL_RESOURCE_CPU_REQUEST", request, &wanted, why);
    }
    if (r == 0 && limit) {
        unsigned most = 0;
        r = parse_cpus("ZTUNNEL_RESOURCE_CPU_LIMIT", limit, &most, why);
        c->workers = MAX_OF(most, wanted);
    } else {
        c->workers = MAX_OF(MAX_OF((cpus + 3) / 4, wanted), 2u);
    }
    c->workers = MAX_OF(c->workers, 1u);
    return r;
}

static int read_drain(struct config *c, char *const *env, struct diag *why)
{
    const char *deadline = env_get(env, "CONNECTION_TERMINATION_DEADLINE");
    const char *grace = env_get(env, "TERMINATION_GRACE_PERIOD_SECONDS");
    uint32_t s = 0;

    if (deadline) {
        int r = num_parse_duration_ms(deadline, strlen(deadline), &c->drain_ms);
        return r < 0 ? FAIL(why, r, "CONNECTION_TERMINATION_DEADLINE: '%.40s' is not a duration",
                            deadline)
                     : 0;
    }
    c->drain_ms = 5000;
    if (grace) {
        int r = num_parse_u32(grace, strlen(grace), 86400, &s);
        if (r < 0) {
            return FAIL(why, r, "TERMINATION_GRACE_PERIOD_SECONDS: '%.40s' is not a number", grace);
        }
        c->drain_ms = s > 10 ? (s - 5) * 1000u : s > 2 ? (s - 1) * 1000u : 1000u;
    }
    return 0;
}

/* "localhost:15053" or "ip:port". */
static int read_dns_address(struct config *c, char *const *env, struct diag *why)
{
    static const char localhost[] = "localhost:";
    const char *text = env_get(env, "ISTIO_META_DNS_PROXY_ADDR");
    struct endpoint e = {.port = PORT_DNS};
    int r = 0;

    if (text && has_prefix(text, localhost)) {
        r = num_parse_port(text + strlen(localhost), strlen(text) - strlen(localhost), &e.port);
    } else if (text) {
        r = endpoint_parse(&e, text, strlen(text));
    }
    if (r < 0) {
        return FAIL(why, r, "ISTIO_META_DNS_PROXY_ADDR: '%.40s' is not localhost:port or ip:port",
                    text);
    }
    c->dns_ip = e.ip;
    c->dns_port = e.port;
    return 0;
}

static int read_modes(struct config *c, char *const *env, struct diag *why)
{
    const char *mode = env_get(env, "PROXY_MODE");
    const char *dns = env_get(env, "ISTIO_META_DNS_CAPTURE");
    const char *format = env_get(env, "LOG_FORMAT");
    const char *authz = env_get(env, "AUTHZ_POLICY_INFO_LOGGING");
    const char *demand = env_get(env, "XDS_ON_DEMAND");

    if (mode && strcmp(mode, "shared") != 0) {
        return FAIL(why, -ERR_UNSUPPORTED, "PROXY_MODE: '%.20s' is not supported, only shared",
                    mode);
    }
    if (demand && strcmp(demand, "false") != 0) {
        return FAIL(why, -ERR_UNSUPPORTED, "XDS_ON_DEMAND: not supported, unset it");
    }
    c->dns_proxy = !dns || strcasecmp(dns, "true") == 0;
    c->log_json = format && strcmp(format, "json") == 0;
    c->policy_info_logging = authz && strcmp(authz, "true") == 0;
    if (!c->proxy && !c->dns_proxy) {
        return FAIL(why, -ERR_SYNTAX, "ENABLE_PROXY and ISTIO_META_DNS_CAPTURE: both are off");
    }
    return 0;
}

static void read_cluster(struct config *c, char *const *env)
{
    const char *cluster = env_get(env, "ISTIO_META_CLUSTER_ID");

    cluster = cluster ? cluster : env_get(env, "CLUSTER_ID");
    c->cluster_id = mem_strdup(cluster ? cluster : "Kubernetes");
}

static void derive(struct config *c)
{
    static const uint16_t illegal[] = {PORT_HBONE, PORT_PLAINTEXT, PORT_OUTBOUND};

    memcpy(c->illegal_ports, illegal, sizeof(illegal));
    c->illegal_count = ARRAY_LEN(illegal);
    if (c->keepalive_enabled) {
        c->keepalive =
            (struct sock_keepalive){.idle_s = (unsigned)(c->keepalive_time_ms / 1000),
                                    .interval_s = (unsigned)(c->keepalive_interval_ms / 1000),
                                    .count = c->keepalive_retries,
                                    .user_timeout = c->user_timeout};
    }
}

int config_read(struct config *out, char *const *env, struct diag *why)
{
    struct config c = {.proxy = true};
    int r = read_rows(&c, env, why);

    if (r == 0) {
        r = read_addresses(&c, env, why);
    }
    if (r == 0) {
        r = read_modes(&c, env, why);
    }
    if (r == 0) {
        r = read_dns_address(&c, env, why);
    }
    if (r == 0) {
        r = read_workers(&c, env, why);
    }
    if (r == 0) {
        r = read_drain(&c, env, why);
    }
    if (r == 0) {
        r = read_headers(&c.xds_headers, env, "XDS_HEADER_", why);
    }
    if (r == 0) {
        r = read_headers(&c.ca_headers, env, "CA_HEADER_", why);
    }
    if (r < 0) {
        config_fini(&c);
        return r;
    }
    read_cluster(&c, env);
    read_metadata(&c, env);
    derive(&c);
    *out = c;
    return 0;
}

void config_fini(struct config *c)
{
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (rows[i].kind == ROW_TEXT || rows[i].kind == ROW_OPTIONAL) {
            mem_free(*(char **)(void *)((char *)c + rows[i].offset));
        }
    }
    mem_free(c->xds_address);
    mem_free(c->ca_address);
    mem_free(c->cluster_id);
    json_unref(c->metadata);
    message_fini(&c->xds_headers);
    message_fini(&c->ca_headers);
    *c = (struct config){.proxy = false};
}

char *config_node_id(const struct config *c)
{
    AUTO(strbuf) struct strbuf id = {0};

    strbuf_printf(&id, "ztunnel~%s~%s.%s~%s.svc.cluster.local", c->instance_ip, c->pod_name,
                  c->pod_namespace, c->pod_namespace);
    return strbuf_take(&id);
}
