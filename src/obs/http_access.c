/* SPDX-License-Identifier: Apache-2.0 */
#include "obs/http_access.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "obs/labels.h"

enum { RECENT = 256, RECENT_TEXT = 640, LINE_MAX_BYTES = 32 << 10, LINE_KEPT = 4 << 10 };

static struct log_scope scope = LOG_SCOPE("request");

static const char *flag_text(enum http_flag f)
{
    /* clang-format off */
    static const char *const texts[] = {
#define HTTP_FLAG_TEXT(name, text) [name] = (text),
        HTTP_FLAGS(HTTP_FLAG_TEXT)
#undef HTTP_FLAG_TEXT
    };
    /* clang-format on */

    return texts[f];
}

/* ---- metrics */

enum { REQUESTS, DURATION, REQUEST_BYTES, RESPONSE_BYTES };

static const uint64_t duration_us[] = {500,       1000,      5000,       10000,     25000,
                                       50000,     100000,    250000,     500000,    1000000,
                                       2500000,   5000000,   10000000,   30000000,  60000000,
                                       300000000, 600000000, 1800000000, 3600000000};
static const uint64_t sizes[] = {1,    5,    10,    25,    50,    100,    250,    500,     1000,
                                 2500, 5000, 10000, 30000, 60000, 300000, 600000, 1800000, 3600000};

static const struct metric_family families[] = {
    [REQUESTS] = {.name = "istio_requests", .help = "Total requests.", .type = METRIC_COUNTER},
    [DURATION] = {.name = "istio_request_duration_milliseconds",
                  .help = "Duration of requests.",
                  .type = METRIC_HISTOGRAM,
                  .bounds_us = duration_us,
                  .bound_count = ARRAY_LEN(duration_us),
                  .scale = METRIC_MILLISECONDS},
    [REQUEST_BYTES] = {.name = "istio_request_bytes",
                       .help = "Size of requests, head and body.",
                       .type = METRIC_HISTOGRAM,
                       .bounds_us = sizes,
                       .bound_count = ARRAY_LEN(sizes),
                       .scale = METRIC_PLAIN},
    [RESPONSE_BYTES] = {.name = "istio_response_bytes",
                        .help = "Size of responses, head and body.",
                        .type = METRIC_HISTOGRAM,
                        .bounds_us = sizes,
                        .bound_count = ARRAY_LEN(sizes),
                        .scale = METRIC_PLAIN},
};

enum { /* places in the row below */
       L_REPORTER = 0,
       L_SRC = 1,
       L_SERVICE = L_SRC + SIDE_LABELS,
       L_DST = L_SERVICE + 3,
       L_PROTOCOL = L_DST + SIDE_LABELS,
       L_POLICY,
       L_WHO, /* these many do not ask how it ended */
       L_CODE = L_WHO,
       L_GRPC,
       L_FLAGS,
       L_COUNT
};

static const char *const labels[L_COUNT] = {
    "reporter",
    SIDE_LABEL_NAMES("source"),
    "destination_service",
    "destination_service_namespace",
    "destination_service_name",
    SIDE_LABEL_NAMES("destination"),
    "request_protocol",
    "connection_security_policy",
    "response_code",
    "grpc_response_status",
    "response_flags",
};

const struct metric_set http_access_metrics = {.families = families,
                                               .family_count = ARRAY_LEN(families),
                                               .labels = labels,
                                               .label_count = L_COUNT};

enum { REQUEST_MESSAGES, RESPONSE_MESSAGES };
static const struct metric_family message_families[] = {
    [REQUEST_MESSAGES] = {.name = "istio_request_messages",
                          .help = "Messages of gRPC requests.",
                          .type = METRIC_COUNTER},
    [RESPONSE_MESSAGES] = {.name = "istio_response_messages",
                           .help = "Messages of gRPC responses.",
                           .type = METRIC_COUNTER},
};
const struct metric_set http_message_metrics = {.families = message_families,
                                                .family_count = ARRAY_LEN(message_families),
                                                .labels = labels,
                                                .label_count = L_WHO};

static void who_labels(const struct http_access *a, struct slice v[static L_WHO])
{
    v[L_REPORTER] = slice_of("waypoint");
    side_labels(&v[L_SRC], &a->src);
    v[L_SERVICE] = label_or_unknown(a->service);
    v[L_SERVICE + 1] = label_or_unknown(a->service_namespace);
    v[L_SERVICE + 2] = label_or_unknown(a->service_name);
    side_labels(&v[L_DST], &a->dst);
    v[L_PROTOCOL] = slice_of(a->grpc ? "grpc" : "http");
    v[L_POLICY] = slice_of(a->mutual_tls ? "mutual_tls" : "unknown");
}

static struct series *series_of(const struct http_access *a, struct metrics_shard *shard)
{
    struct slice v[L_COUNT];
    char code[8];
    char grpc[16];

    (void)snprintf(code, sizeof(code), "%u", a->status % 1000);
    (void)snprintf(grpc, sizeof(grpc), "%d", a->grpc_status);
    who_labels(a, v);
    v[L_CODE] = slice_of(code);
    v[L_GRPC] = slice_of(a->grpc && a->grpc_status >= 0 ? grpc : "");
    v[L_FLAGS] = slice_of(flag_text(a->flag));
    return metrics_series(shard, &http_access_metrics, v);
}

/* The workloads of a cached row are held by whoever filled it in: a match is the same object. */
static bool is_same(const struct http_series *a, const struct http_series *b)
{
    return a->series && a->src == b->src && a->dst == b->dst && a->service == b->service &&
           a->status == b->status && a->flag == b->flag && a->grpc_status == b->grpc_status &&
           a->grpc == b->grpc;
}

/* ---- recent requests */

enum recent_text {
    IS_METHOD,
    IS_PATH,
    IS_AUTHORITY,
    IS_SRC, /* "namespace/workload" */
    IS_IDENTITY,
    IS_DST,
    IS_SERVICE,
    IS_ROUTE,
    IS_DETAILS,
    IS_UPSTREAM,
    RECENT_TEXTS
};
static const char *const recent_names[RECENT_TEXTS] = {[IS_METHOD] = "method",
                                                       [IS_PATH] = "path",
                                                       [IS_AUTHORITY] = "authority",
                                                       [IS_SRC] = "source",
                                                       [IS_IDENTITY] = "source_identity",
                                                       [IS_DST] = "destination",
                                                       [IS_SERVICE] = "service",
                                                       [IS_ROUTE] = "route",
                                                       [IS_DETAILS] = "details",
                                                       [IS_UPSTREAM] = "upstream"};

struct http_recorder {
    struct metrics_shard *shard;
    bool log;
    struct strbuf line; /* empty; its memory is used again */
    unsigned recent_at; /* where the next one goes */
    struct recent {
        bool used;
        uint64_t wall_ns;
        uint32_t duration_us;
        uint16_t status;
        uint8_t flag;
        bool mutual_tls;
        uint16_t at[RECENT_TEXTS]; /* in texts */
        struct strbuf texts;       /* each with its zero; its memory is used again */
        uint64_t received;
        uint64_t sent;
    } recent[RECENT];
};

struct http_recorder *http_recorder_new(struct metrics_shard *shard, bool log)
{
    struct http_recorder *r = mem_new(struct http_recorder);

    r->shard = shard;
    r->log = log;
    r->line.limit = LINE_MAX_BYTES;
    return r;
}

void http_recorder_free(struct http_recorder *r)
{
    if (r) {
        for (unsigned i = 0; i < RECENT; i++) {
            strbuf_fini(&r->recent[i].texts);
        }
        strbuf_fini(&r->line);
        mem_free(r);
    }
}

/* What a client chose may be cut, and shows it; names are whole. */
static void keep(struct recent *x, enum recent_text k, struct slice from)
{
    static const char cut[] = "...";

    x->at[k] = (uint16_t)x->texts.len;
    if (from.len > RECENT_TEXT) {
        strbuf_add(&x->texts, from.p, RECENT_TEXT - strlen(cut));
        from = slice_of(cut);
    }
    strbuf_add(&x->texts, from.p, from.len);
    strbuf_putc(&x->texts, '\0');
}

static void keep_text(struct recent *x, enum recent_text k, const char *from)
{
    keep(x, k, slice_of(from));
}

static void keep_side(struct recent *x, enum recent_text k, const struct access_side *s)
{
    x->at[k] = (uint16_t)x->texts.len;
    strbuf_printf(&x->texts, "%s/%s", s->namespace_ ? s->namespace_ : "",
                  s->workload ? s->workload : "");
    strbuf_putc(&x->texts, '\0');
}

static void remember(struct http_recorder *r, const struct http_access *a, uint64_t us)
{
    struct recent *x = &r->recent[r->recent_at];

    r->recent_at = (r->recent_at + 1) % RECENT;
    x->used = true;
    x->wall_ns = a->started_wall_ns;
    x->duration_us = us < UINT32_MAX ? (uint32_t)us : UINT32_MAX;
    x->status = (uint16_t)a->status;
    x->flag = (uint8_t)a->flag;
    x->mutual_tls = a->mutual_tls;
    x->received = a->received_bytes;
    x->sent = a->sent_bytes;
    strbuf_clear(&x->texts);
    keep(x, IS_METHOD, a->method);
    keep(x, IS_PATH, a->path);
    keep(x, IS_AUTHORITY, a->authority);
    keep_side(x, IS_SRC, &a->src);
    keep_text(x, IS_IDENTITY, a->src.identity);
    keep_side(x, IS_DST, &a->dst);
    keep_text(x, IS_SERVICE, a->service);
    keep_text(x, IS_ROUTE, a->route);
    keep_text(x, IS_DETAILS, a->details);
    keep_text(x, IS_UPSTREAM, a->upstream_host);
}

static void member(struct strbuf *out, const char *key, const char *value)
{
    strbuf_printf(out, ",\"%s\":", key);
    log_json_string(out, slice_of(value));
}

static void write_one(const struct recent *x, struct strbuf *out)
{
    char when[CLOCK_TEXT];

    clock_format(x->wall_ns, when, sizeof(when));
    strbuf_printf(out, "{\"time\":\"%s\",\"status\":%u,\"duration_us\":%u", when, x->status,
                  x->duration_us);
    strbuf_printf(out, ",\"bytes_received\":%llu,\"bytes_sent\":%llu,\"mutual_tls\":%s",
                  (unsigned long long)x->received, (unsigned long long)x->sent,
                  x->mutual_tls ? "true" : "false");
    member(out, "flags", flag_text((enum http_flag)x->flag));
    for (enum recent_text k = IS_METHOD; k < RECENT_TEXTS; k++) {
        member(out, recent_names[k], x->texts.p + x->at[k]);
    }
    strbuf_putc(out, '}');
}

void http_recorder_write_recent(const struct http_recorder *r, struct strbuf *out)
{
    bool first = true;

    for (unsigned i = 0; i < RECENT; i++) {
        const struct recent *x = &r->recent[(r->recent_at + i) % RECENT];
        if (x->used) {
            strbuf_puts(out, first ? "" : ",");
            write_one(x, out);
            first = false;
        }
    }
}

/* ---- the line: every field is written by one function, for both forms */

struct line {
    struct strbuf out;
    bool json;
    bool any;
};

static bool ends_early(unsigned char c)
{
    return c < ' ' || c == '"' || c == '\\' || c >= 0x7f;
}

/* Without a branch an octet, so that compilers do many at once. */
static bool is_harmless(struct slice s)
{
    unsigned bad = 0;

    for (size_t i = 0; i < s.len; i++) {
        bad |= ends_early((unsigned char)s.p[i]);
    }
    return bad == 0;
}

/* Text from outside: what would end the field or the line early is escaped. */
static void put_plain(struct strbuf *out, struct slice s)
{
    size_t from = 0;

    if (is_harmless(s)) {
        strbuf_add(out, s.p, s.len);
        return;
    }

    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (ends_early(c)) {
            strbuf_add(out, s.p + from, i - from);
            strbuf_printf(out, "\\x%02X", c);
            from = i + 1;
        }
    }
    if (from < s.len) {
        strbuf_add(out, s.p + from, s.len - from);
    }
}

static void put_key(struct line *l, const char *key)
{
    if (l->json) {
        strbuf_puts(&l->out, l->any ? ",\"" : "\"");
        strbuf_puts(&l->out, key);
        strbuf_puts(&l->out, "\":");
    } else if (l->any) {
        strbuf_putc(&l->out, ' ');
    }
    l->any = true;
}

static void put(struct line *l, const char *key, struct slice s, bool quoted)
{
    s = s.len > 0 ? s : slice_of("-");
    put_key(l, key);
    if (l->json) {
        log_json_string(&l->out, s);
        return;
    }
    if (quoted) {
        strbuf_putc(&l->out, '"');
    }
    put_plain(&l->out, s);
    if (quoted) {
        strbuf_putc(&l->out, '"');
    }
}

static void put_number(struct line *l, const char *key, uint64_t n)
{
    put_key(l, key);
    strbuf_put_u64(&l->out, n);
}

static void put_request(struct line *l, const struct http_access *a)
{
    if (l->json) {
        put(l, "method", a->method, false);
        put(l, "path", a->path, false);
        put(l, "protocol", slice_of(a->protocol), false);
        return;
    }
    strbuf_puts(&l->out, " \"");
    put_plain(&l->out, a->method);
    strbuf_putc(&l->out, ' ');
    put_plain(&l->out, a->path);
    strbuf_putc(&l->out, ' ');
    strbuf_puts(&l->out, a->protocol);
    strbuf_putc(&l->out, '"');
}

static void put_start(struct line *l, const struct http_access *a)
{
    char when[CLOCK_TEXT];

    clock_format(a->started_wall_ns, when, sizeof(when));
    if (l->json) {
        put(l, "start_time", slice_of(when), false);
    } else {
        strbuf_putc(&l->out, '[');
        strbuf_puts(&l->out, when);
        strbuf_putc(&l->out, ']');
        l->any = true;
    }
}

static void put_address(struct line *l, const char *key, const struct endpoint *e)
{
    char text[ENDPOINT_TEXT];

    put(l, key, slice_of(e->ip.family == IP_NONE ? "" : endpoint_format(e, text)), false);
}

static void put_outcome(struct line *l, const struct http_access *a, uint64_t ms)
{
    char ms_text[DECIMAL_TEXT];
    bool answered = a->upstream_ms >= 0;

    put_number(l, "response_code", a->status);
    put(l, "response_flags", slice_of(flag_text(a->flag)), false);
    put(l, "response_code_details", slice_of(a->details), false);
    put(l, "connection_termination_details", slice_of(a->termination), false);
    put(l, "upstream_transport_failure_reason", slice_of(a->failure), true);
    put_number(l, "bytes_received", a->received_bytes);
    put_number(l, "bytes_sent", a->sent_bytes);
    put_number(l, "duration", ms);
    put(l, "upstream_service_time",
        answered ? slice_of_u64((uint64_t)a->upstream_ms, ms_text) : (struct slice){NULL, 0},
        false);
}

/* Behind the fields that have their places, so with a name. */
static void put_note(struct line *l, const char *key, const char *text)
{
    if (text && l->json) {
        put(l, key, slice_of(text), false);
    } else if (text) {
        strbuf_printf(&l->out, " %s=", key);
        put_plain(&l->out, slice_of(text));
    }
}

static void write_line(struct http_recorder *r, const struct http_access *a, uint64_t us)
{
    struct line l = {.out = r->line, .json = log_format_now() == LOG_JSON};

    strbuf_puts(&l.out, l.json ? "{" : "");
    put_start(&l, a);
    put_request(&l, a);
    put_outcome(&l, a, us / 1000);
    put(&l, "x_forwarded_for", a->forwarded_for, true);
    put(&l, "user_agent", a->user_agent, true);
    put(&l, "request_id", a->request_id, true);
    put(&l, "authority", a->authority, true);
    put(&l, "upstream_host", slice_of(a->upstream_host), true);
    put(&l, "upstream_cluster", slice_of(a->upstream_cluster), false);
    put(&l, "upstream_local_address", (struct slice){NULL, 0}, false);
    put_address(&l, "downstream_local_address", &a->door);
    put_address(&l, "downstream_remote_address", &a->client);
    put(&l, "requested_server_name", (struct slice){NULL, 0}, false);
    put(&l, "route_name", slice_of(a->route), false);
    put_note(&l, "audit_policy", a->notes.audit);
    put_note(&l, "dry_run_result", a->notes.dry_run_result);
    put_note(&l, "dry_run_policy", a->notes.dry_run_policy);
    strbuf_puts(&l.out, l.json ? "}" : "");
    log_line(strbuf_text(&l.out), l.out.len);
    strbuf_clear(&l.out);
    r->line = l.out;
    if (r->line.room > LINE_KEPT) {
        strbuf_fini(&r->line);
    }
}

void http_access_end(struct http_recorder *r, const struct http_access *a, uint64_t now_ns,
                     struct http_series *cache, const struct http_series *key)
{
    uint64_t us = (now_ns - a->started_ns) / 1000;
    struct series *s = NULL;

    if (cache && is_same(cache, key)) {
        s = cache->series;
    } else {
        s = series_of(a, r->shard);
    }
    if (cache) {
        *cache = *key;
        cache->series = s;
    }
    series_add(s, REQUESTS, 1);
    series_observe_us(s, DURATION, us);
    series_observe_us(s, REQUEST_BYTES, a->request_head_bytes + a->received_bytes);
    series_observe_us(s, RESPONSE_BYTES, a->response_head_bytes + a->sent_bytes);
    remember(r, a, us);
    if (r->log && log_is_on(&scope, LOG_INFO)) {
        write_line(r, a, us);
    }
}

void http_access_messages(struct http_recorder *r, const struct http_access *a, uint64_t requests,
                          uint64_t responses)
{
    struct slice v[L_WHO];

    who_labels(a, v);
    struct series *s = metrics_series(r->shard, &http_message_metrics, v);
    series_add(s, REQUEST_MESSAGES, requests);
    series_add(s, RESPONSE_MESSAGES, responses);
}
