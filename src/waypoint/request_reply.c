/* SPDX-License-Identifier: Apache-2.0 */
/* Answers of the waypoint's own: status, flag, details and text as waypoint contract 3.11 has them. */
#include <stdio.h>
#include <string.h>

#include "waypoint/request_int.h"

int request_answer(struct request *q, unsigned status, enum http_flag flag, const char *details,
                   const char *body)
{
    q->reply =
        (struct request_reply){.status = status, .flag = flag, .details = details, .body = body};
    message_clear(&q->out); /* the caller may add fields */
    return 1;
}

int request_grpc_status(unsigned http_status)
{
    switch (http_status) {
    case 200:
        return 0;
    case 400:
        return 13;
    case 401:
        return 16;
    case 403:
        return 7;
    case 404:
        return 12;
    case 429:
    case 502:
    case 503:
    case 504:
        return 14;
    default:
        return 2;
    }
}

#define RESET_TEXT "upstream connect error or disconnect/reset before headers. reset reason: "

/* What went wrong with the last try, in order of judging. */
static const struct failure {
    unsigned status;
    enum http_flag flag;
    const char *details;
    const char *body;
} failures[] = {
    {503, HTTP_CONNECT_FAILED, "upstream_reset_before_response_started{connection_failure}",
     RESET_TEXT "connection failure"},
    {503, HTTP_CONNECT_FAILED, "upstream_reset_before_response_started{connection_timeout}",
     RESET_TEXT "connection timeout"},
    {502, HTTP_PROTOCOL_ERROR, "upstream_reset_before_response_started{protocol_error}",
     RESET_TEXT "protocol error"},
    {503, HTTP_REMOTE_RESET, "upstream_reset_before_response_started{remote_reset}",
     RESET_TEXT "remote reset"},
    {503, HTTP_CONNECTION_ENDED, "upstream_reset_before_response_started{connection_termination}",
     RESET_TEXT "connection termination"},
};
enum { BY_FAILURE, BY_TIMEOUT, BY_PROTOCOL, BY_RESET, BY_TERMINATION };

static unsigned kind_of(const struct request *q, int r)
{
    if (!q->up) { /* there was no connection */
        return r == -ERR_DEADLINE || r == -ETIMEDOUT ? BY_TIMEOUT : BY_FAILURE;
    }
    switch (-r) {
    case ERR_SYNTAX:
    case ERR_VERSION:
    case ERR_TOO_LARGE:
    case ERR_LIMIT:
    case ERR_H2_PROTOCOL:
    case ERR_H2_FLOW:
        return BY_PROTOCOL;
    case ERR_H2_RESET:
        return BY_RESET;
    default: /* errno values and all that ends a connection */
        return BY_TERMINATION;
    }
}

int request_answer_failure(struct request *q, int r, const struct diag *why)
{
    const struct failure *f = &failures[kind_of(q, r)];

    (void)snprintf(q->failure, sizeof(q->failure), "%s", why->text[0] ? why->text : err_text(r));
    q->record.failure = q->failure;
    strbuf_clear(&q->text);
    strbuf_puts(&q->text, f->body);
    if (f->flag == HTTP_CONNECT_FAILED) {
        strbuf_printf(&q->text, ", transport failure reason: %s", q->failure);
    }
    return request_answer(q, f->status, f->flag, f->details, strbuf_text(&q->text));
}

int request_reply_start(struct request *q)
{
    request_head_reply(q);
    q->reply_at = 0;
    q->record.flag = q->reply.flag;
    q->record.details = q->reply.details;
    int r = exchange_send(q->down, &q->out);
    if (r == 0) {
        q->head_sent = true;
        q->record.status = q->out.status;
    }
    return r;
}

int request_reply_move(struct request *q)
{
    const char *body = q->grpc || message_is_method(&q->down->in, "HEAD") ? "" : q->reply.body;
    size_t len = strlen(body);

    while (q->reply_at < len) {
        ssize_t n = stream_write(&q->down->s, body + q->reply_at, len - q->reply_at);
        if (n < 0) {
            return (int)n;
        }
        q->reply_at += (size_t)n;
        q->record.sent_bytes += (size_t)n;
    }
    return stream_shut(&q->down->s);
}
