/* SPDX-License-Identifier: Apache-2.0 */
#include "rpc/grpc_server.h"

#include "base/mem.h"
#include "rpc/grpc_int.h"

enum { REQUEST_BYTES_MAX = 4 << 20 };

struct grpc_server {
    struct loop *loop;
    struct http_server *http;
    uint32_t message_bytes;
};

struct grpc_server *grpc_server_new(struct loop *l, const struct grpc_server_options *options,
                                    struct task *owner)
{
    struct grpc_server *s = mem_new(struct grpc_server);
    struct http_server_options http = options->http;

    http.protocol = HTTP_ONLY_H2;
    s->loop = l;
    s->message_bytes = options->message_bytes > 0 ? options->message_bytes : REQUEST_BYTES_MAX;
    s->http = http_server_new(l, &http, owner);
    return s;
}

int grpc_server_listen(struct grpc_server *s, int take_fd, struct diag *why)
{
    return http_server_listen(s->http, take_fd, why);
}

void grpc_server_add(struct grpc_server *s, struct stream *take_stream)
{
    http_server_add(s->http, take_stream);
}

/* NULL: it was none of gRPC and has been answered. */
static struct grpc_call *adopt(struct grpc_server *s, struct exchange *take_x)
{
    struct slice type = {"", 0};
    struct slice timeout;
    uint64_t limit_ms = 0;

    (void)message_find(&take_x->in, "content-type", &type); /* absent is not gRPC either */
    if (!message_is_method(&take_x->in, "POST")) {
        exchange_reply_text(s->loop, take_x, 405, NULL, "");
        return NULL;
    }
    if (!slice_has_prefix(type, "application/grpc")) {
        exchange_reply_text(s->loop, take_x, 415, NULL, "");
        return NULL;
    }
    bool limited = message_find(&take_x->in, "grpc-timeout", &timeout);
    if (limited && grpc_timeout_parse(timeout, &limit_ms) < 0) {
        exchange_reply_text(s->loop, take_x, 400, NULL, "");
        return NULL;
    }
    return grpc_call_new(s->loop, take_x, GRPC_SERVER, s->message_bytes,
                         limited && limit_ms == 0 ? 1 : limit_ms);
}

int grpc_server_next(struct grpc_server *s, struct grpc_call **out)
{
    struct exchange *x = NULL;
    int r;

    while ((r = http_server_next(s->http, &x)) == 1) {
        struct grpc_call *c = adopt(s, x);
        if (c) {
            *out = c;
            return 1;
        }
    }
    return r;
}

void grpc_call_refuse(struct grpc_call *take_call, unsigned code, const char *text)
{
    int r = grpc_call_finish(take_call, code, text);

    (void)r; /* a call that cannot be answered is cut by closing it */
    grpc_call_close(take_call);
}

void grpc_server_free(struct grpc_server *s)
{
    if (s) {
        http_server_free(s->http);
        mem_free(s);
    }
}
