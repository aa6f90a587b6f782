/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A whole HTTP/2 session, server or client by the first octet, against a peer made of the rest.
 * Oracles: it settles; what it holds stays within the windows it granted; what it says is a sequence
 * of well-formed frames; it says at most a bounded multiple of what it was told; after the end every
 * exchange and every byte is released.
 */
#include <stdlib.h>
#include <string.h>

#include "base/num.h"
#include "caller.h"
#include "handler.h"
#include "http/h2_session.h"
#include "mempipe.h"
#include "wire.h"

enum { WINDOW = 70000, SAID_AT_LEAST = 700000, SAID_PER_BYTE = 64 };

static const struct h2_options options = {.stream_window = WINDOW, .connection_window = WINDOW};

static void need(bool truth)
{
    if (!truth) {
        abort();
    }
}

static int next(void *server, struct exchange **out)
{
    return h2_session_next(server, out);
}

static void check_frames(struct wire *w, size_t skip)
{
    const uint8_t *p = bytes_peek(&w->got) + skip;
    size_t len = w->got.len > skip ? w->got.len - skip : 0;

    while (len >= 9) {
        size_t n = be24_get(p);
        need(n <= 16384 && p[3] <= 9);
        need(p[5] < 0x80);
        if (n + 9 > len) {
            break;
        }
        p += n + 9;
        len -= n + 9;
    }
}

/* asked: octets of the answers that the application was told to give. */
static void check(struct h2_session *s, struct wire *w, size_t told, size_t skip, size_t asked)
{
    struct h2_stats stats = h2_session_stats(s);

    need(stats.buffered <= (uint64_t)WINDOW * (stats.streams + 1));
    need(stats.streams <= 100);
    need(w->got.len <= SAID_AT_LEAST + told * SAID_PER_BYTE + asked);
    check_frames(w, skip);
}

static void end(struct loop *l, struct wire *peer)
{
    need(settle(l));
    wire_stop(peer, 0);
    loop_advance(l, 60000);
    need(settle(l));
    loop_free(l);
    need(mempipe_live() == 0);
}

static const char magic[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0";

static void server(const uint8_t *data, size_t len)
{
    struct loop *l = loop_new(NULL);
    static struct handler app;
    static char script[16000];
    size_t head = sizeof(magic); /* the literal's own zero is the frame's last octet */
    struct stream *ends[2];
    struct wire peer;

    loop_stop_clock(l);
    memcpy(script, magic, head);
    memcpy(script + head, data, len);
    mempipe_pair(ends, 5000, NULL);
    handler_start(&app, l);
    struct h2_session *s = h2_server_new(l, ends[1], &options, &app.task);
    handler_serve(&app, next, s);
    wire_start(&peer, l, ends[0], script, head + len);
    peer.piece = 1 + len % 500;
    need(settle(l));
    check(s, &peer, len, 0, (size_t)app.bigs * (BIG_BYTES + BIG_BYTES / 64));
    handler_finish(&app);
    need(settle(l));
    app.next = NULL;
    h2_session_free(s);
    handler_stop(&app);
    end(l, &peer);
}

static void client(const uint8_t *data, size_t len)
{
    AUTO(message) struct message head = {0};
    struct loop *l = loop_new(NULL);
    struct stream *ends[2];
    struct caller call[3];
    struct wire peer;

    loop_stop_clock(l);
    mempipe_pair(ends, 5000, NULL);
    struct h2_session *s = h2_client_new(l, ends[1], &options, NULL);
    message_request(&head, "POST", "https", "a", "/x");
    for (int i = 0; i < 3; i++) {
        struct exchange *x = h2_session_request(s, &head, i == 0);
        caller_start(&call[i], l, x, i == 0 ? NULL : "body", i == 0 ? 0 : 4);
        call[i].stopped = i == 2;
    }
    wire_start(&peer, l, ends[0], (const char *)data, len);
    peer.piece = 1 + len % 500;
    need(settle(l));
    check(s, &peer, len, 24, 0);
    for (int i = 0; i < 3; i++) {
        caller_stop(&call[i], 0);
    }
    h2_session_free(s);
    end(l, &peer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    if (len < 2 || len > 8000) {
        return 0;
    }
    if (data[0] & 1) {
        server(data + 1, len - 1);
    } else {
        client(data + 1, len - 1);
    }
    return 0;
}
