/* SPDX-License-Identifier: Apache-2.0 */
/* The variables of the contract (1.5): each is read, and has its default; what cannot be is named. */
#include "ztunnel/config.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "t.h"

enum kind { TEXT, FLAG, NUMBER, WIDE, PORT };

struct row {
    const char *set; /* NAME=value */
    enum kind kind;
    size_t offset;
    const char *otherwise; /* the field's text when nothing is set; NULL: not looked at */
    const char *then;
};

#define ROW(set, kind, field, otherwise, then)                                                     \
    {                                                                                              \
        (set), (kind), offsetof(struct config, field), (otherwise), (then)                         \
    }

static const char here[] = "https://localhost:15012";
static const char mounted[] = "./var/run/secrets/istio/root-cert.pem";

static const struct row rows[] = {
    ROW("XDS_ADDRESS=istiod:15012", TEXT, common.xds_address, here, "https://istiod:15012"),
    ROW("XDS_ADDRESS=", TEXT, common.xds_address, here, ""),
    ROW("CA_ADDRESS=http://ca:1", TEXT, common.ca_address, here, "http://ca:1"),
    ROW("KUBERNETES_SERVICE_HOST=10.96.0.1", TEXT, common.ca_address, here,
        "https://istiod.istio-system.svc:15012"),
    ROW("XDS_ROOT_CA=SYSTEM", TEXT, common.xds_root_ca, mounted, "SYSTEM"),
    ROW("CA_ROOT_CA=/a.pem", TEXT, common.ca_root_ca, mounted, "/a.pem"),
    ROW("ALT_XDS_HOSTNAME=x", TEXT, common.alt_xds_host, "(none)", "x"),
    ROW("ALT_CA_HOSTNAME=c", TEXT, common.alt_ca_host, "(none)", "c"),
    ROW("AUTH_TOKEN=/token", TEXT, common.auth_token, NULL, "/token"),
    ROW("SECRET_TTL=1h30m", WIDE, common.secret_ttl_ms, "86400000", "5400000"),
    ROW("NETWORK=net", TEXT, network, "", "net"),
    ROW("NODE_NAME=n1", TEXT, node_name, "", "n1"),
    ROW("CLUSTER_ID=east", TEXT, common.cluster_id, "Kubernetes", "east"),
    ROW("ISTIO_META_CLUSTER_ID=west", TEXT, common.cluster_id, "Kubernetes", "west"),
    ROW("CLUSTER_DOMAIN=x.local", TEXT, cluster_domain, "cluster.local", "x.local"),
    ROW("PREFERED_SERVICE_NAMESPACE=shop", TEXT, preferred_service_namespace, "(none)", "shop"),
    ROW("PACKET_MARK=7", NUMBER, packet_mark, "1337", "7"),
    ROW("INPOD_UDS=/u", TEXT, inpod_uds, "/var/run/ztunnel/ztunnel.sock", "/u"),
    ROW("INPOD_PORT_REUSE=false", FLAG, port_reuse, "true", "false"),
    ROW("ENABLE_ORIG_SRC=true", NUMBER, orig_src, "0", "1"),
    ROW("ENABLE_ORIG_SRC=false", NUMBER, orig_src, "0", "2"),
    ROW("KEEPALIVE_ENABLED=false", NUMBER, keepalive.idle_s, "180", "0"),
    ROW("KEEPALIVE_TIME=7", NUMBER, keepalive.idle_s, "180", "7"),
    ROW("KEEPALIVE_INTERVAL=8s", NUMBER, keepalive.interval_s, "180", "8"),
    ROW("KEEPALIVE_RETRIES=3", NUMBER, keepalive.count, "9", "3"),
    ROW("USER_TIMEOUT_ENABLED=true", FLAG, keepalive.user_timeout, "false", "true"),
    ROW("POOL_MAX_STREAMS_PER_CONNECTION=7", NUMBER, pool_streams, "100", "7"),
    ROW("POOL_UNUSED_RELEASE_TIMEOUT=100ms", WIDE, pool_idle_ms, "300000", "100"),
    ROW("HTTP2_STREAM_WINDOW_SIZE=2147483647", NUMBER, stream_window_bytes, "4194304",
        "2147483647"),
    ROW("HTTP2_CONNECTION_WINDOW_SIZE=70000", NUMBER, connection_window_bytes, "16777216", "70000"),
    ROW("HTTP2_FRAME_SIZE=16384", NUMBER, frame_bytes, "1048576", "16384"),
    ROW("CONNECTION_TERMINATION_DEADLINE=2m", WIDE, drain_ms, "5000", "120000"),
    ROW("TERMINATION_GRACE_PERIOD_SECONDS=30", WIDE, drain_ms, "5000", "25000"),
    ROW("TERMINATION_GRACE_PERIOD_SECONDS=10", WIDE, drain_ms, "5000", "9000"),
    ROW("TERMINATION_GRACE_PERIOD_SECONDS=0", WIDE, drain_ms, "5000", "1000"),
    ROW("ZTUNNEL_WORKER_THREADS=3", NUMBER, common.workers, NULL, "3"),
    ROW("ZTUNNEL_CPU_LIMIT=40", NUMBER, common.workers, NULL, "10"),
    ROW("ZTUNNEL_RESOURCE_CPU_LIMIT=4500m", NUMBER, common.workers, NULL, "5"),
    ROW("ZTUNNEL_RESOURCE_CPU_REQUEST=1000", NUMBER, common.workers, NULL, "1000"),
    ROW("IPV6_ENABLED=false", FLAG, common.ipv6, "true", "false"),
    ROW("LOCALHOST_APP_TUNNEL=false", FLAG, localhost_app_tunnel, "true", "false"),
    ROW("ENABLE_RESPONSE_BAGGAGE=false", FLAG, response_baggage, "true", "false"),
    ROW("AUTHZ_POLICY_INFO_LOGGING=true", FLAG, policy_info_logging, "false", "true"),
    ROW("RUST_LOG=debug", TEXT, common.log_level, "info", "debug"),
    ROW("LOG_FORMAT=json", FLAG, common.log_json, "false", "true"),
    ROW("INSTANCE_IP=10.0.0.1", TEXT, instance_ip, "1.1.1.1", "10.0.0.1"),
    ROW("POD_NAME=zt", TEXT, pod_name, "", "zt"),
    ROW("POD_NAMESPACE=istio-system", TEXT, pod_namespace, "", "istio-system"),
    ROW("SERVICE_ACCOUNT=ztunnel", TEXT, service_account, "", "ztunnel"),
    ROW("TRUST_DOMAIN=td", TEXT, common.trust_domain, "cluster.local", "td"),
    ROW("ISTIO_META_DNS_CAPTURE=False", FLAG, dns_proxy, "true", "false"),
    ROW("ISTIO_META_DNS_CAPTURE=TRUE", FLAG, dns_proxy, "true", "true"),
    ROW("ISTIO_META_DNS_PROXY_ADDR=localhost:1053", PORT, dns_port, "15053", "1053"),
    ROW("ISTIO_META_DNS_PROXY_ADDR=127.0.0.9:1054", PORT, dns_port, "15053", "1054"),
    ROW("ISTIO_META_ISTIO_VERSION=1.30", TEXT, common.istio_version, "unknown", "1.30"),
};

static void write_field(const struct config *c, const struct row *row, char out[static 128])
{
    const void *p = (const char *)c + row->offset;
    uint16_t port;
    uint32_t number;
    uint64_t wide;
    const char *text;

    switch (row->kind) {
    case TEXT:
        memcpy(&text, p, sizeof(text));
        snprintf(out, 128, "%s", text ? text : "(none)");
        break;
    case FLAG:
        snprintf(out, 128, "%s", *(const bool *)p ? "true" : "false");
        break;
    case NUMBER:
        memcpy(&number, p, sizeof(number));
        snprintf(out, 128, "%" PRIu32, number);
        break;
    case WIDE:
        memcpy(&wide, p, sizeof(wide));
        snprintf(out, 128, "%" PRIu64, wide);
        break;
    case PORT:
        memcpy(&port, p, sizeof(port));
        snprintf(out, 128, "%u", port);
        break;
    }
}

/* The field's text with one variable set, or none. */
static int read_with(const char *set, const struct row *row, char out[static 128])
{
    char *env[] = {(char *)(uintptr_t)set, NULL};
    struct config c;
    struct diag why = {0};
    int r = config_read(&c, env, &why);

    if (r == 0) {
        write_field(&c, row, out);
        config_fini(&c);
    } else {
        printf("# %s\n", why.text);
    }
    return r;
}

TEST(each_variable_is_read_and_has_its_default)
{
    char text[128];

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        printf("# %s\n", rows[i].set);
        CHECK_INT(read_with(NULL, &rows[i], text), 0);
        CHECK_STR(text, rows[i].otherwise ? rows[i].otherwise : text);
        CHECK_INT(read_with(rows[i].set, &rows[i], text), 0);
        CHECK_STR(text, rows[i].then);
    }
}

TEST(variables_that_begin_alike_are_metadata_and_headers)
{
    static const char *const set[] = {"ISTIO_META_A=1",
                                      "ISTIO_METAJSON_B={\"x\":2}",
                                      "ISTIO_METAJSON_BAD={",
                                      "POD_NAME=zt",
                                      "XDS_HEADER_X-One=1",
                                      "CA_HEADER_X-Two=2",
                                      NULL};
    struct config c;
    struct diag why = {0};

    CHECK_INT(config_read(&c, (char *const *)(uintptr_t)set, &why), 0);
    CHECK_STR(json_str(json_get(c.common.metadata, "A"), ""), "1");
    CHECK_INT(json_int(json_get(json_get(c.common.metadata, "B"), "x"), 0), 2);
    CHECK_STR(json_str(json_get(c.common.metadata, "NAME"), ""), "zt");
    CHECK_INT(c.common.xds_headers.count, 1);
    CHECK_INT(c.common.ca_headers.count, 1);
    AUTO(text) char *id = config_node_id(&c);
    CHECK_STR(id, "ztunnel~1.1.1.1~zt.~.svc.cluster.local");
    config_fini(&c);
}

TEST(what_cannot_be_or_is_not_supported_is_named)
{
    static const char *const bad[] = {
        "HTTP2_FRAME_SIZE=16383",
        "HTTP2_FRAME_SIZE=16777216",
        "HTTP2_STREAM_WINDOW_SIZE=2147483648",
        "HTTP2_CONNECTION_WINDOW_SIZE=4294967295",
        "POOL_MAX_STREAMS_PER_CONNECTION=65536",
        "ENABLE_PROXY=false",
        "ENABLE_PROXY=maybe",
        "ENABLE_ORIG_SRC=1",
        "PROXY_MODE=dedicated",
        "XDS_ON_DEMAND=true",
        "CRL_PATH=/var/run/secrets/istio/crl/ca-crl.pem",
        "LOCAL_XDS_PATH=/etc/local.yaml",
        "LOCAL_XDS=policies: []",
        "COMPLIANCE_POLICY=pqc",
        "CA_ADDRESS=",
        "CA_HEADER_X=a\tb",
        "PACKET_MARK=0x539",
        "SECRET_TTL=soon",
        "ZTUNNEL_WORKER_THREADS=101%",
        "ZTUNNEL_RESOURCE_CPU_LIMIT=two",
        "ISTIO_META_DNS_PROXY_ADDR=elsewhere:53",
        "TERMINATION_GRACE_PERIOD_SECONDS=-1",
        "CONNECTION_TERMINATION_DEADLINE=x",
    };

    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        char *env[] = {(char *)(uintptr_t)bad[i], NULL};
        struct config c;
        struct diag why = {0};

        CHECK(config_read(&c, env, &why) < 0);
        CHECK_MEM(why.text, bad[i], strcspn(bad[i], "="));
        printf("# %s\n", why.text);
    }
    char *off[] = {(char *)(uintptr_t) "CRL_PATH=", (char *)(uintptr_t) "COMPLIANCE_POLICY=fips",
                   NULL};
    struct config c;
    struct diag why = {0};
    CHECK_INT(config_read(&c, off, &why), 0); /* unset, or said of what is so anyway */
    config_fini(&c);
}
