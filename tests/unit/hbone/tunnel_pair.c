/* SPDX-License-Identifier: Apache-2.0 */
#include "tunnel_pair.h"

#include <string.h>

#include "base/clock.h"

enum { PATIENCE_MS = 30000 }; /* a handshake takes its time on a busy machine */

const struct hbone_head tunnel_pair_head = {
    .authority = {"10.0.0.2:8080", 13},
    .baggage = {"k8s.namespace.name=shop", 23},
};

static void accept_all(struct task *task, unsigned why)
{
    struct tunnel_pair *p = container_of(task, struct tunnel_pair, acceptor);
    struct hbone_request *r = NULL;
    int n = 0;

    (void)why;
    while (p->server && (n = hbone_server_next(p->server, &r)) == 1) {
        p->accepted[p->accepted_count++] =
            hbone_request_accept(r, (struct slice){"service.name=web", 16});
    }
    if (n != -EAGAIN) {
        p->server_end = n;
    }
}

void tunnel_pair_init(struct tunnel_pair *p, struct loop *l, const struct hbone_limits *limits)
{
    memset(p, 0, sizeof(*p));
    p->loop = l;
    p->home = hbone_loop_new(l, limits, NULL);
    p->server_end = -EAGAIN;
    task_init(&p->acceptor, l, "acceptor", accept_all);
}

void tunnel_pair_serve(struct tunnel_pair *p, struct stream *below, struct budget *budget)
{
    p->server = hbone_server_new(p->home, below, &p->acceptor, budget);
    task_wake(&p->acceptor, WAKE_START);
}

bool tunnel_pair_wait(struct tunnel_pair *p, unsigned count)
{
    uint64_t end = clock_mono_ms() + PATIENCE_MS;

    while (p->accepted_count < count && clock_mono_ms() < end) {
        loop_turn(p->loop, 1);
    }
    return p->accepted_count >= count;
}

static void settle(struct loop *l)
{
    for (int i = 0; i < 20; i++) {
        while (loop_turn(l, 0) > 0) {
        }
        loop_advance(l, 1000); /* what lingers has deadlines */
    }
}

void tunnel_pair_fini(struct tunnel_pair *p)
{
    if (p->server) {
        hbone_server_close(p->server, -ERR_CANCELLED);
        p->server = NULL;
    }
    settle(p->loop);
    task_fini(&p->acceptor);
    hbone_loop_free(p->home);
    p->home = NULL;
}
