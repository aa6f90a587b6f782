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

/* True: there may be more. */
static bool accept_some(struct door *door, int most)
{
    struct endpoint peer;

    for (int i = 0; i < most; i++) {
        int fd = listener_accept(door->listener, &peer);
        if (fd == -EAGAIN) {
            return false;
        }
        if (fd < 0) {
            log_error(&scope, "listener failed", F_STR("error", err_text(fd)));
            return false;
        }
        engine_take(least_loaded(door->doors), fd, &peer, door->plain);
    }
    return true;
}

static void run(struct task *t, unsigned why)
{
    (void)why; /* every wake is a hint */
    if (accept_some(container_of(t, struct door, task), ACCEPTS_A_RUN)) {
        task_wake(t, WAKE_IO);
    }
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

void doors_take_waiting(struct doors *d)
{
    for (unsigned i = 0; i < d->count; i++) {
        listener_look(d->door[i].listener);
        (void)accept_some(&d->door[i], LISTEN_BACKLOG); /* more cannot wait */
    }
}

void doors_close(struct doors *d)
{
    for (unsigned i = 0; i < d->count; i++) {
        listener_close(d->door[i].listener);
        task_fini(&d->door[i].task);
    }
    d->count = 0;
}
