/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The access record of one connection (contract 9.2-9.4): the only source of the access log line, of
 * the TCP metrics, of the recent-records ring and of the per-edge aggregates, so that they cannot
 * disagree. Embedded in the connection it describes, which has a struct for it that is as small as an
 * idle connection needs: who and where is asked of the connection whenever something is written, and
 * must be the same from access_open until access_end returns.
 *
 * A recorder is one loop's: its metric shard, its ring, its edges. Nothing here crosses threads but
 * the metric sums; others ask for ring and edges through obs/gather.h.
 */
#pragma once

#include "base/ip.h"
#include "base/list.h"
#include "base/str.h"
#include "io/loop.h"
#include "obs/metrics.h"
#include "obs/policy_notes.h"

enum access_reporter { ACCESS_SOURCE, ACCESS_DESTINATION, ACCESS_WAYPOINT }; /* outbound, inbound */

enum access_flag {            /* response_flags */
                   ACCESS_OK, /* "-"; also connections cut by drain */
                   ACCESS_DENY,
                   ACCESS_CONNECT,
                   ACCESS_TLS_FAILURE,
                   ACCESS_H2_FAILURE,
                   ACCESS_NETWORK_POLICY,
                   ACCESS_IDENTITY_ERROR,
                   ACCESS_CERT_REVOKED,
                   ACCESS_FLAGS
};

struct access_side { /* NULL or "": unknown. Borrowed. */
    const char *pod; /* log: *.workload; falls back to canonical_service */
    const char *workload;
    const char *canonical_service;
    const char *canonical_revision;
    const char *namespace_;
    const char *identity;  /* log, only when mutual_tls */
    const char *principal; /* metrics */
    const char *app;       /* metrics; NULL: canonical_service */
    const char *version;   /* metrics; NULL: canonical_revision */
    const char *cluster;
    const char *region;
    const char *zone;
};

struct recorder;

struct access_facts { /* zeroed before they are asked for; texts are borrowed */
    enum access_reporter reporter;
    bool mutual_tls;
    bool located; /* a workload object is known: the four locality labels are printed */
    struct endpoint src_addr;
    struct endpoint dst_addr;
    /* The CONNECT authority: host NULL and the family IP_NONE without HBONE. */
    const char *hbone_host;   /* as it was written; NULL: the address of hbone_at */
    struct endpoint hbone_at; /* its port in either case */
    struct access_side src;
    struct access_side dst;
    const char *service; /* host name; NULL: none */
    const char *service_namespace;
    const char *service_name;
    struct policy_notes notes;
};

struct access;

/* A question: changes nothing, calls nobody. */
typedef void access_tell_fn(const struct access *a, struct access_facts *out);

struct access {
    /* private to obs/ */
    struct recorder *recorder; /* NULL: not open */
    access_tell_fn *tell;
    struct series *bytes;
    uint64_t opened_ns;
    uint64_t to_server;
    uint64_t to_client;
    struct list in_open;
};

struct recorder_options {
    unsigned recent; /* records kept; 0 = 256 */
    unsigned edges;  /* aggregates kept; 0 = 1,024; the rest is one edge "overflow" */
};

/* shard is borrowed and must come from metrics that know access_metrics. */
struct recorder *recorder_new(struct metrics_shard *shard, const struct recorder_options *options);
void recorder_free(struct recorder *r);
AUTO_DEFINE(recorder, struct recorder *, recorder_free);

/* The traffic families and whose the failures were, for metrics_new. */
extern const struct metric_set access_metrics;
extern const struct metric_set failure_metrics;

/* After the decision, before connecting: counts "opened", makes the byte counters appear. */
void access_open(struct access *r, struct recorder *recorder, access_tell_fn *tell);
/* What moved since the last call. */
void access_bytes(struct access *r, uint64_t to_server, uint64_t to_client);
/* The same, by what has moved since access_open. */
void access_moved(struct access *r, uint64_t to_server, uint64_t to_client);
/* Once: log line, closed and failed counters, ring, edges. error NULL: none; it sets the level of the
 * line, flag the labels of the traffic families, and code whose failure it is counted as. A record that
 * is not open is left alone. */
void access_end(struct access *r, enum access_flag flag, int code, const char *error);
/* A connection refused before it had a record: one "connection failed" line, and of the metrics only
 * whose failure it was. */
void access_refused(struct recorder *recorder, enum access_reporter reporter,
                    const struct endpoint *src, const struct endpoint *dst, int code,
                    const char *error);
/* Of a connection that ended with r, 0 or negative (contract 9.2). */
enum access_flag access_flag_of(int r);

/* JSON arrays, appended: the connections open now, the recent records (oldest first), the edges. */
void recorder_write_open(const struct recorder *r, struct strbuf *out);
void recorder_write_recent(const struct recorder *r, struct strbuf *out);
void recorder_write_edges(const struct recorder *r, struct strbuf *out);
