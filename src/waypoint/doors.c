/* SPDX-License-Identifier: Apache-2.0 */
#include "waypoint/doors.h"

#include "base/log.h"
#include "io/listener.h"
#include "io/sock_factory.h"
#include "waypoint/engine.h"

enum {
    LISTEN_BACKLOG = 4096,
    ACCEPTS_A_RUN = 64 /* then the other tasks have their turn */
};

static struct log_scope scope = LOG_SCOPE("app");

static struct engine *least_loaded(const struct doors *d)
{
    struct engine *best = d->engines[0];
    unsigned least = UINT32_MAX;

    for (unsigned i = 0; i < d->config->common.workers; i++) {
        unsigned load = atomic_load_explicit(&d->engines[i]->load, memory_order_relaxed);
        if (load < least) {
            least = load;
            best = d->engines[i];
        }
    }
    return best;
}

static void run(struct task *t, unsigned why)
{
    struct door *door = container_of(t, struct door, task);
    struct endpoint peer;

    (void)why; /* every wake is a hint */
    for (int i = 0; i < ACCEPTS_A_RUN; i++) {
        int fd = listener_accept(door->listener, &peer);
        if (fd == -EAGAIN) {
            return;
        }
        if (fd < 0) {
            log_error(&scope, "listener failed", F_STR("error", err_text(fd)));
            return;
        }
        engine_take(least_loaded(door->doors), fd, &peer, door->plain);
    }
    task_wake(t, WAKE_IO);
}

static int open_one(struct doors *d, const struct endpoint *at, const struct plain_listener *plain,
                    struct diag *why)
{
    struct door *door = &d->door[d->count];
    struct sock_spec spec = {.role = SOCK_ROLE_LISTEN,
                             .family = (enum ip_family)at->ip.family,
                             .at = *at,
                             .backlog = LISTEN_BACKLOG};
    struct diag lapse = {0};
    int fd = sock_spec_make(&spec, &lapse, why);

    if (fd < 0) {
        return fd;
    }
    door->doors = d;
    door->plain = plain;
    task_init(&door->task, d->loop, "accept", run);
    d->count++;
    door->listener = listener_new(d->loop, fd, &door->task, why);
    return door->listener ? 0 : surely_negative(why->code);
}

int doors_open(struct doors *d, struct loop *loop, const struct config *config,
               struct engine *const *engines, struct diag *why)
{
    struct endpoint at = {.ip = {.family = config->common.ipv6 ? IP_V6 : IP_V4},
                          .port = (uint16_t)config->hbone_port};

    d->loop = loop;
    d->config = config;
    d->engines = engines;
    int r = open_one(d, &at, NULL, why);
    for (unsigned i = 0; r == 0 && i < config->plain_count; i++) {
        r = open_one(d, &config->plain[i].at, &config->plain[i], why);
    }
    return r;
}

void doors_close(struct doors *d)
{
    for (unsigned i = 0; i < d->count; i++) {
        listener_close(d->door[i].listener);
        task_fini(&d->door[i].task);
    }
    d->count = 0;
}
