/* SPDX-License-Identifier: Apache-2.0 */
#include "waypoint/own.h"

#include "base/clock.h"

static bool is_valid(const struct credential *c)
{
    return c && credential_chain_facts(c, 0)->not_after_s > clock_wall_s();
}

static void ask(struct own *o)
{
    if (!o->wait) {
        o->wait =
            cert_wait_new(o->certs, o->identity,
                          is_valid(o->credential) ? CERT_BACKGROUND : CERT_REALTIME, &o->task);
    }
}

static void settle(struct own *o)
{
    struct credential *fresh = NULL;
    int r = cert_wait_result(o->wait, &fresh, &o->error);

    if (r == -EAGAIN) {
        return;
    }
    cert_wait_free(o->wait);
    o->wait = NULL;
    if (r == 0) {
        credential_unref(o->credential);
        o->credential = fresh;
        o->error = (struct diag){0};
    }
    timer_set(&o->next, &o->task, r == 0 ? OWN_REFRESH_MS : OWN_RETRY_MS);
    list_for_each (n, &o->waiting) {
        task_wake(container_of(n, struct own_wait, in_row)->task, WAKE_CHILD);
    }
}

static void run(struct task *t, unsigned why)
{
    struct own *o = container_of(t, struct own, task);

    (void)why; /* every wake is a hint */
    if (o->wait) {
        settle(o);
    }
    if (!o->wait && !timer_is_armed(&o->next)) {
        ask(o);
        settle(o); /* the answer may be there already */
    }
}

void own_init(struct own *o, struct loop *l, struct cert_manager *certs,
              const struct identity *identity)
{
    *o = (struct own){.certs = certs, .identity = identity};
    list_init(&o->waiting);
    task_init(&o->task, l, "own certificate", run);
    task_wake(&o->task, WAKE_START);
}

void own_fini(struct own *o)
{
    if (o->task.run) {
        timer_clear(&o->next);
        task_fini(&o->task);
        cert_wait_free(o->wait);
        credential_unref(o->credential);
        *o = (struct own){.wait = NULL};
    }
}

int own_credential(struct own *o, struct credential **out, struct diag *why)
{
    if (is_valid(o->credential)) {
        *out = o->credential;
        return 0;
    }
    *why = o->error;
    return -EAGAIN;
}

void own_wait_start(struct own *o, struct own_wait *w, struct task *t)
{
    if (!w->task) {
        w->task = t;
        list_append(&o->waiting, &w->in_row);
    }
}

void own_wait_stop(struct own_wait *w)
{
    if (w->task) {
        list_remove(&w->in_row);
        w->task = NULL;
    }
}
