/* SPDX-License-Identifier: Apache-2.0 */
#include "obs/access.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "codec/authority.h"
#include "obs/labels.h"

enum { RECENT_DEFAULT = 256, EDGES_DEFAULT = 1024, FIELDS_MAX = 24 };

static struct log_scope scope = LOG_SCOPE("access");

/* ---- the traffic families (contract 9.2) */

enum { OPENED, CLOSED, RECEIVED, SENT, FAILED };

static const struct metric_family families[] = {
    [OPENED] = {.name = "istio_tcp_connections_opened",
                .help = "The total number of TCP connections opened.",
                .type = METRIC_COUNTER},
    [CLOSED] = {.name = "istio_tcp_connections_closed",
                .help = "The total number of TCP connections closed.",
                .type = METRIC_COUNTER},
    [RECEIVED] =
        {.name = "istio_tcp_received_bytes",
         .help = "The size of total bytes received during request in case of a TCP connection.",
         .type = METRIC_COUNTER},
    [SENT] = {.name = "istio_tcp_sent_bytes",
              .help = "The size of total bytes sent during response in case of a TCP connection.",
              .type = METRIC_COUNTER},
    [FAILED] = {.name = "istio_tcp_connections_failed",
                .help = "The total number of TCP connections that failed to establish "
                        "(unstable).",
                .type = METRIC_COUNTER},
};

enum { /* places in the row below */
       L_REPORTER = 0,
       L_SRC = 1,
       L_SERVICE = L_SRC + SIDE_LABELS,
       L_DST = L_SERVICE + 3,
       L_PROTOCOL = L_DST + SIDE_LABELS,
       L_FLAGS,
       L_POLICY,
       L_LOCALITY,
       L_COUNT = L_LOCALITY + 4
};

static const char *const labels[L_COUNT] = {
    "reporter",
    SIDE_LABEL_NAMES("source"),
    "destination_service",
    "destination_service_namespace",
    "destination_service_name",
    SIDE_LABEL_NAMES("destination"),
    "request_protocol",
    "response_flags",
    "connection_security_policy",
    "source_region",
    "source_zone",
    "destination_region",
    "destination_zone",
};

const struct metric_set access_metrics = {.families = families,
                                          .family_count = ARRAY_LEN(families),
                                          .labels = labels,
                                          .label_count = L_COUNT};

static const char *flag_text(enum access_flag flag)
{
    static const char *const texts[ACCESS_FLAGS] = {
        [ACCESS_OK] = "-",
        [ACCESS_DENY] = "DENY",
        [ACCESS_CONNECT] = "CONNECT",
        [ACCESS_TLS_FAILURE] = "TLS_FAILURE",
        [ACCESS_H2_FAILURE] = "H2_HANDSHAKE_FAILURE",
        [ACCESS_NETWORK_POLICY] = "NETWORK_POLICY",
        [ACCESS_IDENTITY_ERROR] = "IDENTITY_ERROR",
        [ACCESS_CERT_REVOKED] = "CERT_REVOKED",
    };

    return texts[flag];
}

static const char *reporter_name(enum access_reporter r)
{
    static const char *const names[] = {[ACCESS_SOURCE] = "source",
                                        [ACCESS_DESTINATION] = "destination",
                                        [ACCESS_WAYPOINT] = "waypoint"};

    return names[r];
}

static struct series *series_of(const struct access_facts *a, struct metrics_shard *shard,
                                enum access_flag flag)
{
    struct slice v[L_COUNT];

    v[L_REPORTER] = slice_of(reporter_name(a->reporter));
    side_labels(&v[L_SRC], &a->src);
    v[L_SERVICE] = label_or_unknown(a->service);
    v[L_SERVICE + 1] = label_or_unknown(a->service_namespace);
    v[L_SERVICE + 2] = label_or_unknown(a->service_name);
    side_labels(&v[L_DST], &a->dst);
    v[L_PROTOCOL] = slice_of("tcp");
    v[L_FLAGS] = slice_of(flag_text(flag));
    v[L_POLICY] = slice_of(a->mutual_tls ? "mutual_tls" : "unknown");
    const char *const places[4] = {a->src.region, a->src.zone, a->dst.region, a->dst.zone};
    for (unsigned i = 0; i < 4; i++) {
        v[L_LOCALITY + i] = a->located ? label_or_unknown(places[i]) : (struct slice){NULL, 0};
    }
    return metrics_series(shard, &access_metrics, v);
}

/* Of all failures, whose they were: by istio's families alone a scan, a policy and a broken disk of the
 * node look the same, and connections that never had a record are in none of them. */
static const struct metric_family failure_families[] = {
    {.name = "ambit_connection_failures",
     .help = "Connections that failed or were refused, by whose doing.",
     .type = METRIC_COUNTER}};
static const char *const failure_labels[] = {"reporter", "class"};
const struct metric_set failure_metrics = {
    .families = failure_families, .family_count = 1, .labels = failure_labels, .label_count = 2};

static void count_failure(struct metrics_shard *shard, enum access_reporter reporter, int code)
{
    const struct slice values[] = {slice_of(reporter_name(reporter)),
                                   slice_of(err_class_name(err_class(code)))};

    series_add(metrics_series(shard, &failure_metrics, values), 0, 1);
}

/* ---- edges: who talked to whom, how it ended */

struct edge {
    struct map_node by_key;
    char *key; /* src ns/workload, dst ns/workload, service: JSON members */
    uint64_t connections;
    uint64_t by_flag[ACCESS_FLAGS];
    uint64_t sent;
    uint64_t received;
    uint64_t duration_us;
};

struct recorder {
    struct metrics_shard *shard;
    struct list open;
    char **recent; /* ring of JSON objects */
    unsigned recent_room;
    unsigned recent_at; /* where the next one goes */
    struct map edges;
    unsigned edges_max;
};

struct recorder *recorder_new(struct metrics_shard *shard, const struct recorder_options *options)
{
    struct recorder *r = mem_new(struct recorder);

    r->shard = shard;
    list_init(&r->open);
    r->recent_room = options && options->recent > 0 ? options->recent : RECENT_DEFAULT;
    r->recent = mem_array(r->recent_room, sizeof(char *));
    map_init(&r->edges);
    r->edges_max = options && options->edges > 0 ? options->edges : EDGES_DEFAULT;
    return r;
}

void recorder_free(struct recorder *r)
{
    if (!r) {
        return;
    }
    map_for_each (n, &r->edges) {
        struct edge *e = container_of(n, struct edge, by_key);
        map_remove(&r->edges, n);
        mem_free(e->key);
        mem_free(e);
    }
    map_fini(&r->edges);
    for (unsigned i = 0; i < r->recent_room; i++) {
        mem_free(r->recent[i]);
    }
    mem_free(r->recent);
    mem_free(r);
}

static void member(struct strbuf *out, const char *key, const char *value)
{
    strbuf_printf(out, "%s\"%s\":", out->len > 0 ? "," : "", key);
    log_json_string(out, label_or_unknown(value));
}

static void edge_key(struct strbuf *out, const struct access_facts *a)
{
    member(out, "source_namespace", a->src.namespace_);
    member(out, "source_workload", a->src.workload);
    member(out, "destination_namespace", a->dst.namespace_);
    member(out, "destination_workload", a->dst.workload);
    member(out, "destination_service", a->service);
    member(out, "reporter", reporter_name(a->reporter));
    strbuf_printf(out, ",\"mutual_tls\":%s", a->mutual_tls ? "true" : "false");
}

static struct edge *edge_find(struct recorder *r, const char *key, uint64_t hash)
{
    for (struct map_node *n = map_find(&r->edges, hash); n; n = map_find_next(n)) {
        struct edge *e = container_of(n, struct edge, by_key);
        if (strcmp(e->key, key) == 0) {
            return e;
        }
    }
    return NULL;
}

static struct edge *edge_of(struct recorder *r, const struct access_facts *a)
{
    static const char overflow[] =
        "\"source_workload\":\"overflow\",\"destination_workload\":\"overflow\"";
    AUTO(strbuf) struct strbuf key = {0};

    edge_key(&key, a);
    const char *text = strbuf_text(&key);
    struct edge *e = edge_find(r, text, map_hash_str(text));
    if (!e && r->edges.count >= r->edges_max) {
        text = overflow;
        e = edge_find(r, text, map_hash_str(text));
    }
    if (!e) {
        e = mem_new(struct edge);
        e->key = mem_strdup(text);
        map_insert(&r->edges, &e->by_key, map_hash_str(text));
    }
    return e;
}

/* ---- the line */

struct ended { /* a record, as everything that is written of it needs it */
    struct access_facts facts;
    enum access_flag flag;
    const char *error; /* NULL: none */
    uint64_t to_server;
    uint64_t to_client;
    uint64_t duration_us;
};

static struct access_facts facts_of(const struct access *a)
{
    struct access_facts f = {.service = NULL};

    a->tell(a, &f);
    return f;
}

struct fields {
    struct log_field at[FIELDS_MAX];
    unsigned count;
};

static void put(struct fields *f, struct log_field field)
{
    f->at[f->count++] = field;
}

static void put_text(struct fields *f, const char *key, const char *text)
{
    if (text && *text) {
        put(f, F_QUOTED(key, text));
    }
}

static void put_source(struct fields *f, const struct access_facts *a)
{
    put_text(f, "src.workload", a->src.pod && *a->src.pod ? a->src.pod : a->src.canonical_service);
    put_text(f, "src.namespace", a->src.namespace_);
    put_text(f, "src.identity", a->mutual_tls ? a->src.identity : NULL);
    put_text(f, "src.cluster", a->src.cluster);
}

static const char *authority_of(const struct access_facts *a, char text[static AUTHORITY_TEXT])
{
    if (a->hbone_host) {
        return authority_format(a->hbone_host, a->hbone_at.port, text);
    }
    return a->hbone_at.ip.family ? endpoint_format(&a->hbone_at, text) : NULL;
}

/* authority is room for its text, which the fields borrow. */
static void put_destination(struct fields *f, const struct access_facts *a,
                            char authority[static AUTHORITY_TEXT])
{
    const char *hbone = authority_of(a, authority);

    if (hbone) {
        put(f, F_STR("dst.hbone_addr", hbone));
    }
    put_text(f, "dst.service", a->service);
    put_text(f, "dst.workload", a->dst.pod && *a->dst.pod ? a->dst.pod : a->dst.canonical_service);
    put_text(f, "dst.namespace", a->dst.namespace_);
    put_text(f, "dst.identity", a->mutual_tls ? a->dst.identity : NULL);
    put_text(f, "dst.cluster", a->dst.cluster);
}

static const char *direction_name(enum access_reporter r)
{
    static const char *const names[] = {[ACCESS_SOURCE] = "outbound",
                                        [ACCESS_DESTINATION] = "inbound",
                                        [ACCESS_WAYPOINT] = "waypoint"};

    return names[r];
}

static void write_line(const struct ended *e)
{
    const struct access_facts *a = &e->facts;
    struct fields f = {.count = 0};
    char src[ENDPOINT_TEXT];
    char dst[ENDPOINT_TEXT];
    char hbone[AUTHORITY_TEXT];
    char duration[32];
    bool out = a->reporter == ACCESS_SOURCE;

    (void)snprintf(duration, sizeof(duration), "%llums",
                   (unsigned long long)(e->duration_us / 1000));
    put(&f, F_STR("src.addr", endpoint_format(&a->src_addr, src)));
    put_source(&f, a);
    put(&f, F_STR("dst.addr", endpoint_format(&a->dst_addr, dst)));
    put_destination(&f, a, hbone);
    put(&f, F_QUOTED("direction", direction_name(a->reporter)));
    put(&f, F_U64("bytes_sent", out ? e->to_server : e->to_client));
    put(&f, F_U64("bytes_recv", out ? e->to_client : e->to_server));
    put(&f, F_QUOTED("duration", duration));
    put_text(&f, "audit_policy", a->notes.audit);
    put_text(&f, "dry_run_result", a->notes.dry_run_result);
    put_text(&f, "dry_run_policy", a->notes.dry_run_policy);
    put_text(&f, "error", e->error);
    enum log_level level = e->error ? LOG_ERROR : LOG_INFO;
    if (log_is_on(&scope, level)) {
        log_emit(&scope, level, "connection complete", f.at, f.count);
    }
}

static void write_opened(const struct access_facts *a)
{
    struct fields f = {.count = 0};
    char src[ENDPOINT_TEXT];
    char dst[ENDPOINT_TEXT];
    char hbone[AUTHORITY_TEXT];

    if (!log_is_on(&scope, LOG_DEBUG)) {
        return;
    }
    put(&f, F_STR("src.addr", endpoint_format(&a->src_addr, src)));
    put_source(&f, a);
    put(&f, F_STR("dst.addr", endpoint_format(&a->dst_addr, dst)));
    put_destination(&f, a, hbone);
    put(&f, F_QUOTED("direction", direction_name(a->reporter)));
    log_emit(&scope, LOG_DEBUG, "connection opened", f.at, f.count);
}

/* ---- the ring */

static void remember(struct recorder *r, const struct ended *e)
{
    const struct access_facts *a = &e->facts;
    struct strbuf out = {0};
    char text[ENDPOINT_TEXT];
    char when[CLOCK_TEXT];

    clock_format(clock_wall_ns(), when, sizeof(when));
    member(&out, "time", when);
    edge_key(&out, a);
    member(&out, "src.addr", endpoint_format(&a->src_addr, text));
    member(&out, "dst.addr", endpoint_format(&a->dst_addr, text));
    member(&out, "src.pod", a->src.pod);
    member(&out, "dst.pod", a->dst.pod);
    member(&out, "src.identity", a->src.identity);
    member(&out, "dst.identity", a->dst.identity);
    member(&out, "flags", flag_text(e->flag));
    strbuf_printf(&out, ",\"to_server\":%llu,\"to_client\":%llu,\"duration_us\":%llu",
                  (unsigned long long)e->to_server, (unsigned long long)e->to_client,
                  (unsigned long long)e->duration_us);
    if (e->error) {
        member(&out, "error", e->error);
    }
    mem_free(r->recent[r->recent_at]);
    r->recent[r->recent_at] = strbuf_take(&out);
    r->recent_at = (r->recent_at + 1) % r->recent_room;
}

/* ---- life */

void access_open(struct access *a, struct recorder *recorder, access_tell_fn *tell)
{
    *a = (struct access){.recorder = recorder, .tell = tell, .opened_ns = clock_mono_ns()};
    struct access_facts f = facts_of(a);
    a->bytes = series_of(&f, recorder->shard, ACCESS_OK);
    series_add(a->bytes, OPENED, 1);
    series_add(a->bytes, RECEIVED, 0);
    series_add(a->bytes, SENT, 0);
    list_append(&recorder->open, &a->in_open);
    write_opened(&f);
}

void access_bytes(struct access *a, uint64_t to_server, uint64_t to_client)
{
    if (!a->recorder) {
        return;
    }
    a->to_server += to_server;
    a->to_client += to_client;
    series_add(a->bytes, RECEIVED, to_server);
    series_add(a->bytes, SENT, to_client);
}

void access_moved(struct access *a, uint64_t to_server, uint64_t to_client)
{
    access_bytes(a, to_server - a->to_server, to_client - a->to_client);
}

static void count_ended(struct recorder *r, const struct ended *x, struct series *closing)
{
    struct edge *e = edge_of(r, &x->facts);

    series_add(closing, CLOSED, 1);
    if (x->flag != ACCESS_OK) {
        series_add(closing, FAILED, 1);
    }
    e->connections++;
    e->by_flag[x->flag]++;
    e->sent += x->to_server;
    e->received += x->to_client;
    e->duration_us += x->duration_us;
}

void access_end(struct access *a, enum access_flag flag, int code, const char *error)
{
    struct recorder *r = a->recorder;

    if (!r) {
        return;
    }
    struct ended e = {.facts = facts_of(a),
                      .flag = flag,
                      .error = error,
                      .to_server = a->to_server,
                      .to_client = a->to_client,
                      .duration_us = (clock_mono_ns() - a->opened_ns) / 1000};
    count_ended(r, &e, flag == ACCESS_OK ? a->bytes : series_of(&e.facts, r->shard, flag));
    if (error) {
        count_failure(r->shard, e.facts.reporter, code);
    }
    remember(r, &e);
    write_line(&e);
    list_remove(&a->in_open);
    a->recorder = NULL;
}

void access_refused(struct recorder *recorder, enum access_reporter reporter,
                    const struct endpoint *src, const struct endpoint *dst, int code,
                    const char *error)
{
    char from[ENDPOINT_TEXT];
    char to[ENDPOINT_TEXT];

    count_failure(recorder->shard, reporter, code); /* none of istio's: contract 3.2 */
    log_warn(&scope, "connection failed", F_STR("src.addr", endpoint_format(src, from)),
             F_STR("dst.addr", endpoint_format(dst, to)),
             F_QUOTED("direction", direction_name(reporter)), F_QUOTED("error", error));
}

enum access_flag access_flag_of(int r)
{
    switch (-r) {
    case ERR_POLICY_CHANGED:
    case ERR_DENIED:
        return ACCESS_DENY;
    case 0:
    case ERR_DRAINED:
    case ERR_CANCELLED:
        return ACCESS_OK;
    default: /* errno values and everything else */
        return ACCESS_CONNECT;
    }
}

/* ---- asking */

void recorder_write_open(const struct recorder *r, struct strbuf *out)
{
    uint64_t now = clock_mono_ns();
    const struct list *head = &r->open;
    char text[ENDPOINT_TEXT];

    for (struct list *n = head->next; n != head; n = n->next) {
        const struct access *a = container_of(n, struct access, in_open);
        struct access_facts f = facts_of(a);
        AUTO(strbuf) struct strbuf one = {0};
        edge_key(&one, &f);
        member(&one, "src.addr", endpoint_format(&f.src_addr, text));
        member(&one, "dst.addr", endpoint_format(&f.dst_addr, text));
        member(&one, "src.pod", f.src.pod);
        member(&one, "dst.pod", f.dst.pod);
        member(&one, "src.identity", f.src.identity);
        member(&one, "dst.identity", f.dst.identity);
        strbuf_printf(out, "%s{%s,\"to_server\":%llu,\"to_client\":%llu,\"age_ms\":%llu}",
                      n == head->next ? "" : ",", strbuf_text(&one),
                      (unsigned long long)a->to_server, (unsigned long long)a->to_client,
                      (unsigned long long)((now - a->opened_ns) / 1000000));
    }
}

void recorder_write_recent(const struct recorder *r, struct strbuf *out)
{
    bool first = true;

    for (unsigned i = 0; i < r->recent_room; i++) {
        const char *one = r->recent[(r->recent_at + i) % r->recent_room];
        if (one) {
            strbuf_printf(out, "%s{%s}", first ? "" : ",", one);
            first = false;
        }
    }
}

void recorder_write_edges(const struct recorder *r, struct strbuf *out)
{
    bool first = true;

    map_for_each (n, &r->edges) {
        const struct edge *e = container_of(n, struct edge, by_key);
        strbuf_printf(out, "%s{%s,\"connections\":%llu,\"denied\":%llu,\"failed\":%llu",
                      first ? "" : ",", e->key, (unsigned long long)e->connections,
                      (unsigned long long)e->by_flag[ACCESS_DENY],
                      (unsigned long long)(e->connections - e->by_flag[ACCESS_OK]));
        strbuf_printf(out, ",\"to_server\":%llu,\"to_client\":%llu,\"duration_us\":%llu}",
                      (unsigned long long)e->sent, (unsigned long long)e->received,
                      (unsigned long long)e->duration_us);
        first = false;
    }
}
