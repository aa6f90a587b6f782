/* SPDX-License-Identifier: Apache-2.0 */
#include "h2_rig.h"

#include <string.h>

#include "base/num.h"

static int next(void *server, struct exchange **out)
{
    return h2_session_next(server, out);
}

void h2_rig_start_with(struct h2_rig *g, size_t pipe, int fail_at, const struct h2_options *options)
{
    struct stream *ends[2];

    *g = (struct h2_rig){.fault = {.countdown = fail_at, .code = -EIO}};
    g->loop = loop_new(NULL);
    loop_stop_clock(g->loop);
    mempipe_pair(ends, pipe, &g->fault);
    handler_start(&g->app, g->loop);
    g->client = h2_client_new(g->loop, ends[0], options, NULL);
    g->server = h2_server_new(g->loop, ends[1], options, &g->app.task);
    handler_serve(&g->app, next, g->server);
}

void h2_rig_start(struct h2_rig *g)
{
    h2_rig_start_with(g, 4096, -1, NULL);
}

bool h2_rig_stop(struct h2_rig *g)
{
    for (int i = 0; i < H2_RIG_CALLS; i++) {
        caller_stop(&g->call[i], 0);
    }
    bool settled = settle(g->loop);
    handler_stop(&g->app);
    h2_session_free(g->client);
    h2_session_free(g->server);
    settled = settle(g->loop) && settled;
    loop_advance(g->loop, 60000);
    settled = settle(g->loop) && settled;
    loop_free(g->loop);
    return settled && mempipe_live() == 0;
}

void h2_rig_call(struct h2_rig *g, int i, const char *method, const char *path, const char *body)
{
    AUTO(message) struct message head = {0};

    message_request(&head, method, "https", "a", path);
    struct exchange *x = h2_session_request(g->client, &head, body == NULL);
    caller_start(&g->call[i], g->loop, x, body, body ? strlen(body) : 0);
}

void h2_put_frame(struct strbuf *b, unsigned type, unsigned flags, uint32_t stream,
                  const void *body, size_t len)
{
    uint8_t head[9];

    be24_put(head, (uint32_t)len);
    head[3] = (uint8_t)type;
    head[4] = (uint8_t)flags;
    be32_put(head + 5, stream);
    strbuf_add(b, head, sizeof(head));
    strbuf_add(b, body, len);
}

void h2_put_preface(struct strbuf *b)
{
    strbuf_puts(b, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    h2_put_frame(b, 4, 0, 0, "", 0);
}

void h2_raw_start_with(struct h2_raw *w, size_t pipe, const struct h2_options *options)
{
    struct stream *ends[2];

    *w = (struct h2_raw){.loop = loop_new(NULL)};
    loop_stop_clock(w->loop);
    mempipe_pair(ends, pipe, NULL);
    handler_start(&w->app, w->loop);
    w->server = h2_server_new(w->loop, ends[1], options, &w->app.task);
    handler_serve(&w->app, next, w->server);
    wire_start(&w->peer, w->loop, ends[0], "", 0);
}

void h2_raw_start(struct h2_raw *w, size_t pipe)
{
    h2_raw_start_with(w, pipe, NULL);
}

bool h2_raw_play(struct h2_raw *w)
{
    wire_send(&w->peer, w->script.p, w->script.len);
    return settle(w->loop);
}

bool h2_raw_stop(struct h2_raw *w)
{
    handler_stop(&w->app);
    h2_session_free(w->server);
    wire_stop(&w->peer, 0);
    bool settled = settle(w->loop);
    loop_advance(w->loop, 60000);
    settled = settle(w->loop) && settled;
    loop_free(w->loop);
    strbuf_fini(&w->script);
    return settled && mempipe_live() == 0;
}
