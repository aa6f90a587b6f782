/* SPDX-License-Identifier: Apache-2.0 */
#include "rpc/grpc_client.h"

#include "base/mem.h"
#include "rpc/grpc_int.h"

enum {
    STREAM_WINDOW = 2 << 20,
    CONNECTION_WINDOW = 5 << 20,
    FRAME_BYTES = 16384,
    HEADER_LIST_BYTES = 16384,
    PING_MS = 30000,
    PING_TIMEOUT_MS = 10000
};

struct grpc_client {
    struct loop *loop;
    struct h2_session *session;
    char *authority;
    char *scheme;
    uint32_t message_bytes;
};

struct grpc_client *grpc_client_new(struct loop *l, struct stream *take_below,
                                    const char *authority,
                                    const struct grpc_client_options *options, struct task *owner)
{
    struct grpc_client *c = mem_new(struct grpc_client);
    struct grpc_client_options o = options ? *options : (struct grpc_client_options){0};
    struct h2_options h2 = {.stream_window = STREAM_WINDOW,
                            .connection_window = CONNECTION_WINDOW,
                            .frame_bytes = FRAME_BYTES,
                            .header_list_bytes = HEADER_LIST_BYTES,
                            .ping_ms = o.ping_ms > 0 ? o.ping_ms : PING_MS,
                            .ping_timeout_ms =
                                o.ping_timeout_ms > 0 ? o.ping_timeout_ms : PING_TIMEOUT_MS};

    c->loop = l;
    c->authority = mem_strdup(authority);
    c->scheme = mem_strdup(o.scheme ? o.scheme : "https");
    c->message_bytes = o.message_bytes > 0 ? o.message_bytes : GRPC_MESSAGE_BYTES_MAX;
    c->session = h2_client_new(l, take_below, &h2, owner);
    return c;
}

int grpc_client_state(struct grpc_client *c)
{
    return h2_session_state(c->session);
}

struct grpc_call *grpc_client_call(struct grpc_client *c, const char *path,
                                   const struct message *metadata, uint64_t limit_ms)
{
    AUTO(message) struct message head = {0};

    message_request(&head, "POST", c->scheme, c->authority, path);
    message_puts(&head, "te", "trailers");
    message_puts(&head, "content-type", "application/grpc");
    for (unsigned i = 0; metadata && i < metadata->count; i++) {
        struct message_field f = message_field(metadata, i);
        message_add(&head, f.name, f.value);
    }
    return grpc_call_new(c->loop, h2_session_request(c->session, &head, false), GRPC_CLIENT,
                         c->message_bytes, limit_ms);
}

void grpc_client_free(struct grpc_client *c)
{
    if (c) {
        h2_session_free(c->session);
        mem_free(c->authority);
        mem_free(c->scheme);
        mem_free(c);
    }
}
