/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The access record of one request, at a proxy that reads HTTP: like obs/access.h the only source of
 * log line, metrics and the ring of recent requests. Filled by whoever serves the request, written
 * once, at its end; nothing is kept but counts. Names, order of fields, labels and buckets are
 * Istio's (waypoint contract 3.12, 3.13).
 */
#pragma once

#include "base/ip.h"
#include "base/str.h"
#include "obs/access.h"
#include "obs/policy_notes.h"

#define HTTP_FLAGS(X)                                                                              \
    X(HTTP_FLAG_NONE, "-")                                                                         \
    X(HTTP_NO_ROUTE, "NR")                                                                         \
    X(HTTP_NO_CLUSTER, "NC")                                                                       \
    X(HTTP_NO_HEALTHY, "UH")                                                                       \
    X(HTTP_CONNECT_FAILED, "UF")                                                                   \
    X(HTTP_CONNECTION_ENDED, "UC")                                                                 \
    X(HTTP_REMOTE_RESET, "UR")                                                                     \
    X(HTTP_PROTOCOL_ERROR, "UPE")                                                                  \
    X(HTTP_UPSTREAM_TIMEOUT, "UT")                                                                 \
    X(HTTP_IDLE_TIMEOUT, "SI")                                                                     \
    X(HTTP_OVERFLOW, "UO")                                                                         \
    X(HTTP_RETRIES_EXHAUSTED, "URX")                                                               \
    X(HTTP_CLIENT_GONE, "DC")                                                                      \
    X(HTTP_CLIENT_ERROR, "DPE")                                                                    \
    X(HTTP_OVERLOAD, "OM")                                                                         \
    X(HTTP_DENIED, "DENY") /* after the response had begun: policy changed */
/* clang-format off */
enum http_flag {
#define HTTP_FLAG_ENUM(name, text) name,
    HTTP_FLAGS(HTTP_FLAG_ENUM)
#undef HTTP_FLAG_ENUM
};
/* clang-format on */

struct http_access { /* everything is borrowed until http_access_end returns; empty or NULL: "-" */
    uint64_t started_wall_ns;
    uint64_t started_ns;
    struct slice method;
    struct slice path;    /* as the client sent it */
    const char *protocol; /* "HTTP/1.1", "HTTP/2" */
    unsigned status;      /* 0: none was sent */
    enum http_flag flag;
    const char *details;     /* why the status is what it is */
    const char *termination; /* of the connection */
    const char *failure;     /* of the upstream's transport */
    uint64_t received_bytes; /* of the request's body */
    uint64_t sent_bytes;
    uint64_t request_head_bytes;
    uint64_t response_head_bytes;
    int64_t upstream_ms; /* -1: nobody was asked */
    struct slice forwarded_for;
    struct slice user_agent;
    struct slice request_id;
    struct slice authority;
    const char *upstream_host; /* "ip:port" */
    const char *upstream_cluster;
    struct endpoint door; /* our end of the client's connection: what it asked for */
    struct endpoint client;
    const char *route;
    bool grpc;
    int grpc_status; /* -1: none was seen */
    bool mutual_tls;
    struct access_side src;
    struct access_side dst;
    const char *service; /* host name; NULL: none */
    const char *service_namespace;
    const char *service_name;
    struct policy_notes notes; /* in the line behind all else, only if there is something */
};

/* Spares building the labels of requests that are alike: belongs to one connection. Zeroed is empty. */
struct http_series {
    struct series *series;
    const void *src;
    const void *dst;
    const void *service;
    unsigned status;
    enum http_flag flag;
    int grpc_status;
    bool grpc;
};

struct http_recorder;
/* shard is borrowed, of metrics that know http_access_metrics. log: whether lines are written. */
struct http_recorder *http_recorder_new(struct metrics_shard *shard, bool log);
void http_recorder_free(struct http_recorder *r);
AUTO_DEFINE(http_recorder, struct http_recorder *, http_recorder_free);
extern const struct metric_set http_access_metrics;
extern const struct metric_set http_message_metrics;

/* now_ns: clock_mono_ns. cache may be NULL; its keys are the workloads and the service themselves. */
void http_access_end(struct http_recorder *r, const struct http_access *a, uint64_t now_ns,
                     struct http_series *cache, const struct http_series *key);

/* Messages of a gRPC request that have passed; of a, only who and where is read. */
void http_access_messages(struct http_recorder *r, const struct http_access *a, uint64_t requests,
                          uint64_t responses);

/* JSON elements, the oldest first, appended. */
void http_recorder_write_recent(const struct http_recorder *r, struct strbuf *out);
