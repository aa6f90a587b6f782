/* SPDX-License-Identifier: Apache-2.0 */
#include "wire.h"

#include <string.h>

static void send_some(struct wire *w)
{
    while (w->sent < w->len && w->failure == 0) {
        size_t n = w->len - w->sent;
        n = w->piece > 0 && n > w->piece ? w->piece : n;
        ssize_t r = stream_write(w->s, w->script + w->sent, n);
        if (r == -EAGAIN) {
            return;
        }
        if (r < 0) {
            w->len =
                w->sent; /* the other side does not listen any more; it may still have said why */
            return;
        }
        w->sent += (size_t)r;
        if (stream_flush(w->s) == 0 && w->piece > 0) {
            task_wake_late(&w->task, WAKE_IO);
            return;
        }
    }
    if (w->shut_after && !w->shut && stream_shut(w->s) == 0) {
        w->shut = true;
    }
}

static void read_some(struct wire *w)
{
    char chunk[512];

    while (!w->ended && w->failure == 0 && (w->read_at_most == 0 || w->got.len < w->read_at_most)) {
        ssize_t n = stream_read(w->s, chunk, sizeof(chunk));
        if (n == -EAGAIN) {
            return;
        }
        if (n < 0) {
            w->failure = (int)n;
        } else if (n == 0) {
            w->ended = true;
        } else if (bytes_add(&w->got, chunk, (size_t)n) < 0) {
            w->failure = -ERR_TOO_LARGE;
        }
    }
}

static void run(struct task *t, unsigned why)
{
    struct wire *w = container_of(t, struct wire, task);

    (void)why;
    send_some(w);
    read_some(w);
}

void wire_start(struct wire *w, struct loop *l, struct stream *take_s, const char *script,
                size_t len)
{
    *w = (struct wire){.s = take_s, .script = script, .len = len};
    bytes_init(&w->got, 64 << 20);
    task_init(&w->task, l, "wire", run);
    stream_own(take_s, &w->task);
    task_wake(&w->task, WAKE_START);
}

void wire_send(struct wire *w, const char *script, size_t len)
{
    w->script = script;
    w->len = len;
    w->sent = 0;
    task_wake(&w->task, WAKE_IO);
}

void wire_stop(struct wire *w, int why)
{
    task_fini(&w->task);
    stream_close(w->s, why);
    w->s = NULL;
    bytes_fini(&w->got);
}

const char *wire_text(struct wire *w)
{
    if (bytes_add(&w->got, "", 1) < 0) {
        return "";
    }
    w->got.len--;
    return (const char *)bytes_peek(&w->got);
}

unsigned wire_count(struct wire *w, const char *text)
{
    unsigned n = 0;

    for (const char *p = wire_text(w); (p = strstr(p, text)); p += strlen(text)) {
        n++;
    }
    return n;
}

bool wire_has(struct wire *w, const char *text)
{
    return strstr(wire_text(w), text) != NULL;
}

bool settle(struct loop *l)
{
    for (int i = 0; i < 100000; i++) {
        if (loop_turn(l, 0) == 0) {
            return true;
        }
    }
    return false;
}
