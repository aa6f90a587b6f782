/* SPDX-License-Identifier: Apache-2.0 */
#include "waypoint/config.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/env.h"
#include "base/mem.h"
#include "base/num.h"
#include "io/memory_guard.h"
#include "io/worker.h"

#define ROW(name, kind, field, otherwise)                                                          \
    {                                                                                              \
        (name), (kind), offsetof(struct config, field), (otherwise)                                \
    }

static const struct env_row rows[] = {
    ROW("GATEWAY", ENV_TEXT, gateway, ""),
    ROW("NAMESPACE", ENV_TEXT, ns, ""),
    ROW("SERVICE_ACCOUNT", ENV_TEXT, service_account, ""),
    ROW("POD_NAME", ENV_TEXT, pod_name, ""),
    ROW("INSTANCE_IP", ENV_TEXT, instance_ip, ""),
    ROW("NODE_NAME", ENV_TEXT, node_name, ""),
    ROW("NETWORK", ENV_TEXT, network, ""),
    ROW("CLUSTER_DOMAIN", ENV_TEXT, cluster_domain, "cluster.local"),
    ROW("ACCESS_LOG", ENV_BOOL, access_log, "true"),
    ROW("SERVER_HEADER", ENV_TEXT, server_header, "ambit-waypoint"),
    ROW("XFCC_INCLUDE_CLIENT_IDENTITY", ENV_BOOL, xfcc, "false"),
    ROW("PATH_NORMALIZATION", ENV_TEXT, path_normalization, "BASE"),
    ROW("HEADERS_WITH_UNDERSCORES", ENV_TEXT, underscores, "allow"),
    ROW("PROTOCOL_SNIFF_TIMEOUT", ENV_DURATION, sniff_ms, "100ms"),
    ROW("REQUEST_HEAD_MIN_RATE", ENV_U32, head_rate, "500"),
    ROW("HTTP2_STREAM_WINDOW_SIZE", ENV_U31, stream_window_bytes, "4194304"),
    ROW("HTTP2_CONNECTION_WINDOW_SIZE", ENV_U31, connection_window_bytes, "16777216"),
    ROW("HBONE_MAX_STREAMS", ENV_U16, tunnel_streams, "100"),
    ROW("HBONE_PORT", ENV_U16, hbone_port, "15008"),
    ROW("POOL_MAX_STREAMS_PER_CONNECTION", ENV_U16, pool_streams, "100"),
    ROW("POOL_UNUSED_RELEASE_TIMEOUT", ENV_DURATION, pool_idle_ms, "1h"),
};

static int derive_identity(struct config *c, struct diag *why)
{
    if (c->gateway[0] == '\0' || c->ns[0] == '\0') {
        return FAIL(why, -ERR_SYNTAX, "%s: must name the Gateway that this waypoint serves",
                    c->gateway[0] == '\0' ? "GATEWAY" : "NAMESPACE");
    }
    if (c->service_account[0] == '\0') {
        mem_free(c->service_account);
        c->service_account = mem_strdup(c->gateway);
    }
    AUTO(strbuf) struct strbuf host = {0};
    strbuf_printf(&host, "%s.%s.svc.%s", c->gateway, c->ns, c->cluster_domain);
    c->hostname = strbuf_take(&host);
    return 0;
}

/* The control plane knows by the metadata for which Gateway to answer. */
static void read_metadata(struct config *c, char *const *env)
{
    struct json *m = c->common.metadata;

    json_set_str(m, "NAME", c->pod_name);
    json_set_str(m, "NAMESPACE", c->ns);
    json_set_str(m, "GATEWAY", c->gateway);
    json_set_str(m, "SERVICE_ACCOUNT", c->service_account);
    json_set_str(m, "INSTANCE_IPS", c->instance_ip);
    json_set_str(m, "NODE_NAME", c->node_name);
    json_set_str(m, "NETWORK", c->network);
    json_set_str(m, "CLUSTER_ID", c->common.cluster_id);
    proxy_settings_add_metadata(&c->common, env);
}

static int read_workers(struct config *c, char *const *env, struct diag *why)
{
    const char *text = env_get(env, "WAYPOINT_WORKER_THREADS");
    uint32_t n = 0;

    if (text && num_parse_u32(text, strlen(text), 256, &n) < 0) {
        return FAIL(why, -ERR_SYNTAX,
                    "WAYPOINT_WORKER_THREADS: '%.40s' is no number up to 256 (0: one a CPU)", text);
    }
    c->common.workers = n > 0 ? n : worker_cpus();
    return 0;
}

static int read_memory(struct config *c, char *const *env, struct diag *why)
{
    const char *text = env_get(env, "WAYPOINT_MEMORY_LIMIT");
    uint64_t asked = 0;

    if (text && num_parse_u64(text, strlen(text), INT64_MAX, &asked) < 0) {
        return FAIL(why, -ERR_SYNTAX,
                    "WAYPOINT_MEMORY_LIMIT: '%.40s' is no number of bytes (0: the control group's)",
                    text);
    }
    c->memory_bytes = memory_limit(asked);
    return 0;
}

static int read_drain(struct config *c, char *const *env, struct diag *why)
{
    const char *deadline = env_get(env, "TERMINATION_DRAIN_DURATION");
    const char *grace = env_get(env, "TERMINATION_GRACE_PERIOD_SECONDS");
    uint32_t s = 0;

    c->drain_ms = 30000;
    if (deadline && num_parse_duration_ms(deadline, strlen(deadline), &c->drain_ms) < 0) {
        return FAIL(why, -ERR_SYNTAX, "TERMINATION_DRAIN_DURATION: '%.40s' is not a duration",
                    deadline);
    }
    if (!deadline && grace) {
        if (num_parse_u32(grace, strlen(grace), 86400, &s) < 0) {
            return FAIL(why, -ERR_SYNTAX,
                        "TERMINATION_GRACE_PERIOD_SECONDS: '%.40s' is not a number", grace);
        }
        c->drain_ms = s > 2 ? (s - 1) * 1000u : 1000u;
    }
    return 0;
}

/* "ip:port=vip:port", comma-separated. Only on loopback: what comes in there has no identity, and a pod's
 * address would let the whole network in beside the mesh. */
static int read_plain(struct config *c, char *const *env, struct diag *why)
{
    const char *text = env_get(env, "PLAIN_LISTENERS");
    struct slice rest = slice_of(text ? text : "");

    while (rest.len > 0) {
        struct slice one;
        struct slice at;
        struct slice to;
        (void)slice_cut(rest, ',', &one, &rest); /* without a comma: the last one */
        struct plain_listener *p = &c->plain[c->plain_count];
        if (c->plain_count == PLAIN_LISTENERS_MAX || !slice_cut(one, '=', &at, &to) ||
            endpoint_parse(&p->at, at.p, at.len) < 0 || endpoint_parse(&p->to, to.p, to.len) < 0) {
            return FAIL(why, -ERR_SYNTAX, "PLAIN_LISTENERS: '%.60s' is not ip:port=vip:port", text);
        }
        if (!ip_is_loopback(&p->at.ip)) {
            return FAIL(why, -ERR_SYNTAX,
                        "PLAIN_LISTENERS: '%.60s' would be in the clear on the network: listen on "
                        "loopback",
                        text);
        }
        c->plain_count++;
    }
    return 0;
}

static int read_underscores(struct config *c, char *const *env, struct diag *why)
{
    static const char *const words[] = {[H1_UNDERSCORE_ALLOW] = "allow",
                                        [H1_UNDERSCORE_REJECT] = "reject",
                                        [H1_UNDERSCORE_DROP] = "drop"};

    (void)env; /* the text is there already */
    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        if (strcmp(c->underscores, words[i]) == 0) {
            c->names = (enum h1_underscore)i;
            return 0;
        }
    }
    return FAIL(why, -ERR_SYNTAX, "HEADERS_WITH_UNDERSCORES: '%.40s' is not allow, drop or reject",
                c->underscores);
}

static int check(const struct config *c, struct diag *why)
{
    static const char *const forms[] = {"NONE", "BASE", "DEFAULT", "MERGE_SLASHES",
                                        "DECODE_AND_MERGE_SLASHES"};

    for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
        if (strcmp(c->path_normalization, forms[i]) == 0) {
            return 0;
        }
    }
    return FAIL(why, -ERR_SYNTAX,
                "PATH_NORMALIZATION: '%.40s' is not NONE, BASE, MERGE_SLASHES or "
                "DECODE_AND_MERGE_SLASHES",
                c->path_normalization);
}

int config_read(struct config *out, char *const *env, struct diag *why)
{
    static int (*const parts[])(struct config *, char *const *, struct diag *) = {
        read_workers, read_memory, read_drain, read_plain, read_underscores};
    struct config c = {.plain_count = 0};
    int r = env_rows_read(&c, rows, ARRAY_LEN(rows), env, why);

    if (r == 0) {
        r = proxy_settings_read(&c.common, "LOG_LEVEL", env, why);
    }
    if (r == 0) {
        r = derive_identity(&c, why);
    }
    for (size_t i = 0; r == 0 && i < ARRAY_LEN(parts); i++) {
        r = parts[i](&c, env, why);
    }
    if (r == 0) {
        r = check(&c, why);
    }
    if (r < 0) {
        config_fini(&c);
        return r;
    }
    read_metadata(&c, env);
    *out = c;
    return 0;
}

void config_fini(struct config *c)
{
    env_rows_fini(c, rows, ARRAY_LEN(rows));
    mem_free(c->hostname);
    proxy_settings_fini(&c->common);
    *c = (struct config){.plain_count = 0};
}

char *config_node_id(const struct config *c)
{
    AUTO(strbuf) struct strbuf id = {0};

    strbuf_printf(&id, "waypoint~%s~%s.%s~%s.svc.%s",
                  c->instance_ip[0] ? c->instance_ip : "0.0.0.0",
                  c->pod_name[0] ? c->pod_name : c->gateway, c->ns, c->ns, c->cluster_domain);
    return strbuf_take(&id);
}

struct json *config_to_json(const struct config *c)
{
    struct json *o = json_new_object();

    json_set_str(o, "gateway", c->gateway);
    json_set_str(o, "namespace", c->ns);
    json_set_str(o, "serviceAccount", c->service_account);
    json_set_str(o, "trustDomain", c->common.trust_domain);
    json_set_str(o, "network", c->network);
    json_set_str(o, "clusterId", c->common.cluster_id);
    json_set_str(o, "nodeName", c->node_name);
    json_set_str(o, "instanceIp", c->instance_ip);
    json_set_str(o, "xdsAddress", c->common.xds_address);
    json_set_str(o, "caAddress", c->common.ca_address);
    json_set_str(o, "pathNormalization", c->path_normalization);
    json_set_int(o, "workers", c->common.workers);
    json_set_int(o, "memoryBytes", (int64_t)c->memory_bytes);
    json_set_int(o, "drainMs", (int64_t)c->drain_ms);
    return o;
}
