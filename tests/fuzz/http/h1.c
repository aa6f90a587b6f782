/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A whole HTTP/1.1 connection with an application behind it. Oracles: however the bytes are cut, the
 * application sees the same number of requests and the client gets the same status lines; no more
 * responses than requests plus one refusal; everything is released; memory that a client makes us hold
 * is bounded.
 */
#include <stdlib.h>
#include <string.h>

#include "handler.h"
#include "http/h1_server.h"
#include "mempipe.h"
#include "wire.h"

static void need(bool truth)
{
    if (!truth) {
        abort();
    }
}

static int next(void *server, struct exchange **out)
{
    return h1_server_next(server, out);
}

struct outcome {
    unsigned requests;
    char lines[4096]; /* status lines, in order */
};

static void note_lines(struct outcome *o, struct wire *w)
{
    size_t n = 0;

    for (const char *p = wire_text(w); (p = strstr(p, "HTTP/1.1 ")) && n + 13 < sizeof(o->lines);
         p++) {
        memcpy(o->lines + n, p, 12);
        n += 12;
    }
    o->lines[n] = '\0';
}

static void play(const uint8_t *data, size_t len, size_t piece, struct outcome *out)
{
    struct loop *l = loop_new(NULL);
    static struct handler app;
    struct stream *ends[2];
    struct wire client;

    loop_stop_clock(l);
    mempipe_pair(ends, 3000, NULL);
    handler_start(&app, l);
    struct h1_server *s = h1_server_new(l, ends[1], NULL, &app.task);
    handler_serve(&app, next, s);
    wire_start(&client, l, ends[0], (const char *)data, len);
    client.piece = piece;
    need(settle(l));
    handler_finish(&app);
    need(settle(l));
    out->requests = app.requests;
    note_lines(out, &client);
    handler_stop(&app);
    h1_server_free(s);
    need(settle(l));
    wire_stop(&client, 0);
    loop_advance(l, 60000);
    need(settle(l));
    loop_free(l);
    need(mempipe_live() == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static struct outcome whole;
    static struct outcome cut;

    if (len == 0 || len > 8000 || memmem(data, len, "/watch", 6) ||
        memmem(data, len, "/short", 6) || memmem(data, len, "HTTP/1.1 ", 9)) {
        return 0; /* how long a watch lasts, how much of an answer outruns its reset and what an echo
                     repeats would blur the comparison */
    }
    play(data, len, 0, &whole);
    play(data, len, 1 + len % 11, &cut);
    need(whole.requests == cut.requests);
    need(strcmp(whole.lines, cut.lines) == 0);
    return 0;
}
