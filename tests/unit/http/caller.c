/* SPDX-License-Identifier: Apache-2.0 */
#include "caller.h"

#include <string.h>

static int send_body(struct caller *c)
{
    while (c->body && c->sent < c->len) {
        ssize_t n = stream_write(&c->x->s, c->body + c->sent, c->len - c->sent);
        if (n < 0) {
            return (int)n;
        }
        c->sent += (size_t)n;
    }
    if (c->body && !c->shut && !c->hold_open) {
        int r = stream_shut(&c->x->s);
        c->shut = r == 0;
        return r;
    }
    return 0;
}

static int receive(struct caller *c)
{
    int r = exchange_head(c->x);

    return r < 0 ? r : exchange_read_whole(c->x, &c->got);
}

static void run(struct task *t, unsigned why)
{
    struct caller *c = container_of(t, struct caller, task);

    (void)why;
    if (c->result != 0 || c->stopped) {
        return;
    }
    int s = send_body(c);
    int r = receive(c);
    if (r == 0) {
        c->result = 1; /* an answer that came early makes the rest of the question moot */
    } else if (r != -EAGAIN) {
        c->result = r;
    } else if (s < 0 && s != -EAGAIN) {
        c->result = s;
    }
}

void caller_start(struct caller *c, struct loop *l, struct exchange *take_x, const char *body,
                  size_t len)
{
    *c = (struct caller){.x = take_x, .body = body, .len = len};
    bytes_init(&c->got, 32 << 20);
    task_init(&c->task, l, "caller", run);
    stream_own(&take_x->s, &c->task);
    task_wake(&c->task, WAKE_START);
}

void caller_go_on(struct caller *c)
{
    c->stopped = false;
    task_wake(&c->task, WAKE_IO);
}

void caller_stop(struct caller *c, int why)
{
    if (c->x) {
        task_fini(&c->task);
        exchange_close(c->x, why);
        c->x = NULL;
        bytes_fini(&c->got);
    }
}

bool caller_got(struct caller *c, const char *text)
{
    return c->got.len == strlen(text) &&
           (c->got.len == 0 || memcmp(bytes_peek(&c->got), text, c->got.len) == 0);
}
