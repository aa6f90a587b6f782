/* SPDX-License-Identifier: Apache-2.0 */
/* What is written of a request in the end (obs/http_access.h), also of one that its connection refused
 * before anybody saw it. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "waypoint/request_int.h"

static void put_service(struct http_access *a, const struct service *s)
{
    if (s) {
        a->service = s->hostname;
        a->service_name = s->name;
        a->service_namespace = s->ns;
    }
}

static void put_destination(struct request *q)
{
    if (q->dst) {
        side_from_workload(&q->record.dst, q->dst);
        q->record.dst.principal = q->dst->identity->uri;
        q->record.dst.identity = q->dst->identity->uri;
    }
}

static const char *version_text(enum exchange_version v)
{
    return v == EXCHANGE_HTTP2 ? "HTTP/2" : v == EXCHANGE_HTTP11 ? "HTTP/1.1" : "HTTP/1.0";
}

void request_record_start(struct http_access *a, const struct session *s, enum exchange_version v)
{
    a->started_ns = clock_mono_ns();
    a->started_wall_ns = a->started_ns + s->entry.engine->wall_offset_ns;
    a->protocol = version_text(v);
    a->upstream_ms = -1;
    a->grpc_status = -1;
}

static void put_head(struct http_access *a, const struct message *in)
{
    a->method = message_get(in, MESSAGE_METHOD);
    a->path = message_get(in, MESSAGE_PATH);
    a->authority = message_get(in, MESSAGE_AUTHORITY);
    (void)message_find(in, "user-agent", &a->user_agent); /* absent: stays empty; likewise next */
    (void)message_find(in, "x-forwarded-for", &a->forwarded_for);
}

static void put_entry(struct http_access *a, const struct entry *e)
{
    a->door = e->destination;
    a->client = e->client;
    a->mutual_tls = e->peer != NULL;
    entry_sides(e, &a->src);
    put_service(a, e->service);
}

void request_record_messages(struct request *q)
{
    uint64_t up = q->messages_up.messages - q->told_up;
    uint64_t down = q->messages_down.messages - q->told_down;

    if (up == 0 && down == 0) {
        return;
    }
    q->told_up += up;
    q->told_down += down;
    put_entry(&q->record, &q->session->entry);
    put_destination(q);
    http_access_messages(q->store->recorder, &q->record, up, down);
}

void request_record_end(struct request *q)
{
    struct session *s = q->session;
    const struct message *in = request_came(q);
    struct http_series key = {.src = s,
                              .dst = q->dst,
                              .service = s->entry.service,
                              .status = q->record.status,
                              .flag = q->record.flag,
                              .grpc_status = q->record.grpc_status,
                              .grpc = q->grpc};

    put_head(&q->record, in);
    q->record.request_head_bytes = message_cost(in);
    put_entry(&q->record, &s->entry);
    put_destination(q);
    request_record_messages(q);
    q->record.sent_bytes += q->moved.bytes;
    http_access_end(q->store->recorder, &q->record, clock_mono_ns(), &s->series, &key);
    if (s->series_dst != q->dst) { /* the row's key stays what it is while it is used */
        workload_unref(s->series_dst);
        s->series_dst = workload_ref(q->dst);
    }
}

/* ---- what a connection refused by itself */

static const struct refused {
    unsigned status;
    enum http_flag flag;
    const char *details;
} refused[] = {
    {408, HTTP_FLAG_NONE, "request_header_timeout"},
    {413, HTTP_FLAG_NONE, "request_payload_too_large"},
    {414, HTTP_FLAG_NONE, "request_line_too_long"},
    {426, HTTP_FLAG_NONE, "low_version"},
    {431, HTTP_FLAG_NONE, "request_headers_too_large"},
    {503, HTTP_OVERLOAD, "overload"},
    {0, HTTP_CLIENT_ERROR, NULL}, /* all others: the client broke the protocol */
};

static const struct refused *refused_by(unsigned status)
{
    const struct refused *r = refused;

    while (r->status != status && r->status != 0) {
        r++;
    }
    return r;
}

/* Fields of the line are not quoted: one word. */
static void put_word(char *to, size_t room, const char *text)
{
    size_t n = 0;

    for (; text[n] && n + 1 < room; n++) {
        to[n] = text[n] == ' ' ? '_' : text[n];
    }
    to[n] = '\0';
}

void request_refused(struct session *s, const struct refusal *r)
{
    struct request_store *store = s->entry.engine->requests;
    const struct refused *kind = refused_by(r->why.code == -ENOMEM ? 503 : r->status);
    struct http_access a = {.status = r->status, .flag = kind->flag};
    char why[sizeof(r->why.text)];

    request_record_start(&a, s, r->version);
    put_word(why, sizeof(why), r->why.text);
    a.details = kind->details                  ? kind->details
                : r->version == EXCHANGE_HTTP2 ? "http2.protocol_error"
                                               : "http1.codec_error";
    a.termination = why[0] ? why : NULL;
    a.request_head_bytes = r->head_bytes;
    put_head(&a, &r->in);
    put_entry(&a, &s->entry);
    http_access_end(store->recorder, &a, a.started_ns, NULL, NULL);
}
