/* SPDX-License-Identifier: Apache-2.0 */
#include "ztunnel/dump.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"

static void set_duration(struct json *o, const char *key, uint64_t ms)
{
    struct json *d = json_new_object();

    json_set_int(d, "secs", (int64_t)(ms / 1000));
    json_set_int(d, "nanos", (int64_t)(ms % 1000) * 1000000);
    json_set(o, key, d);
}

static void set_root(struct json *o, const char *key, const char *root)
{
    struct json *r = json_new_object();
    bool is_pem = strstr(root, "-----BEGIN") != NULL;

    json_set_str(r, is_pem ? "Static" : "File", is_pem ? "" : root);
    json_set(o, key, r);
}

static void set_or_null(struct json *o, const char *key, const char *text)
{
    json_set(o, key, text && *text ? json_new_str(text) : NULL);
}

static void set_sockets(struct json *o, const struct config *c)
{
    struct json *s = json_new_object();
    struct json *illegal = json_new_array();

    json_set_bool(s, "keepaliveEnabled", c->keepalive_enabled);
    set_duration(s, "keepaliveTime", c->keepalive_time_ms);
    set_duration(s, "keepaliveInterval", c->keepalive_interval_ms);
    json_set_int(s, "keepaliveRetries", c->keepalive_retries);
    json_set_bool(s, "userTimeoutEnabled", c->user_timeout);
    json_set(o, "socketConfig", s);
    for (unsigned i = 0; i < c->illegal_count; i++) {
        json_append(illegal, json_new_int(c->illegal_ports[i]));
    }
    json_set(o, "illegalPorts", illegal);
    json_set_int(o, "packetMark", c->packet_mark);
    json_set_bool(o, "inpodPortReuse", c->port_reuse);
    json_set(o, "requireOriginalSource",
             c->orig_src == ORIG_SRC_TRY ? NULL : json_new_bool(c->orig_src == ORIG_SRC_ALWAYS));
}

struct json *dump_config(const struct config *c)
{
    struct json *o = json_new_object();

    json_set_bool(o, "proxy", c->proxy);
    json_set_bool(o, "dnsProxy", c->dns_proxy);
    json_set_int(o, "windowSize", c->stream_window_bytes);
    json_set_int(o, "connectionWindowSize", c->connection_window_bytes);
    json_set_int(o, "frameSize", c->frame_bytes);
    json_set_int(o, "poolMaxStreamsPerConn", c->pool_streams);
    set_duration(o, "poolUnusedReleaseTimeout", c->pool_idle_ms);
    json_set_str(o, "network", c->network);
    set_or_null(o, "localNode", c->node_name);
    json_set_str(o, "proxyMode", "Shared");
    json_set_str(o, "clusterId", c->common.cluster_id);
    json_set_str(o, "clusterDomain", c->cluster_domain);
    json_set_str(o, "caAddress", c->common.ca_address);
    json_set_str(o, "xdsAddress", c->common.xds_address);
    set_root(o, "caRootCert", c->common.ca_root_ca);
    set_root(o, "xdsRootCert", c->common.xds_root_ca);
    set_or_null(o, "altCaHostname", c->common.alt_ca_host);
    set_or_null(o, "altXdsHostname", c->common.alt_xds_host);
    set_or_null(o, "preferedServiceNamespace", c->preferred_service_namespace);
    set_duration(o, "secretTtl", c->common.secret_ttl_ms);
    set_duration(o, "selfTerminationDeadline", c->drain_ms);
    json_set(o, "proxyMetadata", json_clone(c->common.metadata));
    json_set_int(o, "numWorkerThreads", c->common.workers);
    json_set_str(o, "inpodUds", c->inpod_uds);
    json_set_bool(o, "ipv6Enabled", c->common.ipv6);
    json_set_bool(o, "localhostAppTunnel", c->localhost_app_tunnel);
    json_set_bool(o, "enableEnhancedBaggage", c->response_baggage);
    json_set_bool(o, "xdsOnDemand", false);
    set_sockets(o, c);
    return o;
}

struct json *dump_version(const struct config *c)
{
    struct json *o = json_new_object();

    json_set_str(o, "version", AMBIT_VERSION);
    json_set_str(o, "gitRevision", "unknown");
    json_set_str(o, "buildProfile", "release");
    json_set_str(o, "buildStatus", "unknown");
    json_set_str(o, "istioVersion", c->common.istio_version);
    json_set_str(o, "cryptoProvider", "openssl");
    return o;
}
