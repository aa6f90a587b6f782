/* SPDX-License-Identifier: Apache-2.0 */
#include "ztunnel/config.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/env.h"
#include "base/mem.h"
#include "base/num.h"

#define ROW(name, kind, field, otherwise)                                                          \
    {                                                                                              \
        (name), (kind), offsetof(struct config, field), (otherwise)                                \
    }

static const struct env_row rows[] = {
    ROW("ENABLE_PROXY", ENV_BOOL, proxy, "true"),
    ROW("NETWORK", ENV_TEXT, network, ""),
    ROW("NODE_NAME", ENV_TEXT, node_name, ""),
    ROW("CLUSTER_DOMAIN", ENV_TEXT, cluster_domain, "cluster.local"),
    ROW("PREFERED_SERVICE_NAMESPACE", ENV_OPTIONAL, preferred_service_namespace, NULL),
    ROW("INSTANCE_IP", ENV_TEXT, instance_ip, "1.1.1.1"),
    ROW("POD_NAME", ENV_TEXT, pod_name, ""),
    ROW("POD_NAMESPACE", ENV_TEXT, pod_namespace, ""),
    ROW("SERVICE_ACCOUNT", ENV_TEXT, service_account, ""),
    ROW("INPOD_UDS", ENV_TEXT, inpod_uds, "/var/run/ztunnel/ztunnel.sock"),
    ROW("PACKET_MARK", ENV_U32, packet_mark, "1337"),
    ROW("INPOD_PORT_REUSE", ENV_BOOL, port_reuse, "true"),
    ROW("KEEPALIVE_ENABLED", ENV_BOOL, keepalive_enabled, "true"),
    ROW("KEEPALIVE_TIME", ENV_DURATION, keepalive_time_ms, "180s"),
    ROW("KEEPALIVE_INTERVAL", ENV_DURATION, keepalive_interval_ms, "180s"),
    ROW("KEEPALIVE_RETRIES", ENV_U32, keepalive_retries, "9"),
    ROW("USER_TIMEOUT_ENABLED", ENV_BOOL, user_timeout, "false"),
    ROW("POOL_MAX_STREAMS_PER_CONNECTION", ENV_U16, pool_streams, "100"),
    ROW("POOL_UNUSED_RELEASE_TIMEOUT", ENV_DURATION, pool_idle_ms, "5m"),
    ROW("HTTP2_STREAM_WINDOW_SIZE", ENV_U31, stream_window_bytes, "4194304"),
    ROW("HTTP2_CONNECTION_WINDOW_SIZE", ENV_U31, connection_window_bytes, "16777216"),
    ROW("HTTP2_FRAME_SIZE", ENV_U32, frame_bytes, "1048576"),
    ROW("LOCALHOST_APP_TUNNEL", ENV_BOOL, localhost_app_tunnel, "true"),
    ROW("ENABLE_RESPONSE_BAGGAGE", ENV_BOOL, response_baggage, "true"),
};

static bool has_prefix(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

static int parse_orig_src(const char *text, enum orig_src *out)
{
    bool always = false;

    if (text[0] == '\0') {
        *out = ORIG_SRC_TRY;
        return 0;
    }
    int r = env_parse_bool(text, &always);
    if (r == 0) {
        *out = always ? ORIG_SRC_ALWAYS : ORIG_SRC_NEVER;
    }
    return r;
}

static void read_metadata(struct config *c, char *const *env)
{
    struct json *m = c->common.metadata;

    json_set_str(m, "NAME", c->pod_name);
    json_set_str(m, "NAMESPACE", c->pod_namespace);
    json_set_str(m, "INSTANCE_IPS", c->instance_ip);
    json_set_str(m, "NODE_NAME", c->node_name);
    proxy_settings_add_metadata(&c->common, env);
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
    c->common.workers = percent ? (cpus * v + 99) / 100 : v == 0 ? cpus : v;
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
        c->common.workers = MAX_OF(most, wanted);
    } else {
        c->common.workers = MAX_OF(MAX_OF((cpus + 3) / 4, wanted), 2u);
    }
    c->common.workers = MAX_OF(c->common.workers, 1u);
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

/* What would make less safe if it went unheard. */
static int refuse_unsupported(struct config *c, char *const *env, struct diag *why)
{
    static const struct {
        const char *name;
        const char *value; /* NULL: any but "" */
    } unheard[] = {{"CRL_PATH", NULL},
                   {"LOCAL_XDS", NULL},
                   {"LOCAL_XDS_PATH", NULL},
                   {"ENABLE_PROXY", "false"},
                   {"COMPLIANCE_POLICY", "pqc"}};

    (void)c;
    for (size_t i = 0; i < ARRAY_LEN(unheard); i++) {
        const char *text = env_get(env, unheard[i].name);
        if (text && (unheard[i].value ? strcmp(text, unheard[i].value) == 0 : text[0] != '\0')) {
            return FAIL(why, -ERR_UNSUPPORTED, "%s: '%.40s' is not supported, unset it",
                        unheard[i].name, text);
        }
    }
    return 0;
}

/* What HTTP/2 allows (RFC 9113 6.5.2). */
static int check_frames(struct config *c, char *const *env, struct diag *why)
{
    (void)env;
    if (c->frame_bytes < 16384 || c->frame_bytes > 16777215) {
        return FAIL(why, -ERR_RANGE, "HTTP2_FRAME_SIZE: %u is not between 16384 and 16777215",
                    c->frame_bytes);
    }
    return 0;
}

static int read_modes(struct config *c, char *const *env, struct diag *why)
{
    const char *source = env_get(env, "ENABLE_ORIG_SRC");
    const char *mode = env_get(env, "PROXY_MODE");
    const char *dns = env_get(env, "ISTIO_META_DNS_CAPTURE");
    const char *authz = env_get(env, "AUTHZ_POLICY_INFO_LOGGING");
    const char *demand = env_get(env, "XDS_ON_DEMAND");

    if (mode && strcmp(mode, "shared") != 0) {
        return FAIL(why, -ERR_UNSUPPORTED, "PROXY_MODE: '%.20s' is not supported, only shared",
                    mode);
    }
    if (parse_orig_src(source ? source : "", &c->orig_src) < 0) {
        return FAIL(why, -ERR_SYNTAX, "ENABLE_ORIG_SRC: '%.40s' is not true or false", source);
    }
    if (demand && strcmp(demand, "false") != 0) {
        return FAIL(why, -ERR_UNSUPPORTED, "XDS_ON_DEMAND: not supported, unset it");
    }
    c->dns_proxy = !dns || strcasecmp(dns, "true") == 0;
    c->policy_info_logging = authz && strcmp(authz, "true") == 0;
    return 0;
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
    static int (*const parts[])(struct config *, char *const *, struct diag *) = {
        refuse_unsupported, check_frames, read_modes, read_dns_address, read_workers, read_drain};
    struct config c = {.proxy = true};
    int r = env_rows_read(&c, rows, ARRAY_LEN(rows), env, why);

    if (r == 0) {
        r = proxy_settings_read(&c.common, "RUST_LOG", env, why);
    }
    for (size_t i = 0; r == 0 && i < ARRAY_LEN(parts); i++) {
        r = parts[i](&c, env, why);
    }
    if (r < 0) {
        config_fini(&c);
        return r;
    }
    read_metadata(&c, env);
    derive(&c);
    *out = c;
    return 0;
}

void config_fini(struct config *c)
{
    env_rows_fini(c, rows, ARRAY_LEN(rows));
    proxy_settings_fini(&c->common);
    *c = (struct config){.proxy = false};
}

char *config_node_id(const struct config *c)
{
    AUTO(strbuf) struct strbuf id = {0};

    strbuf_printf(&id, "ztunnel~%s~%s.%s~%s.svc.cluster.local", c->instance_ip, c->pod_name,
                  c->pod_namespace, c->pod_namespace);
    return strbuf_take(&id);
}
