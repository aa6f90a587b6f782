/* SPDX-License-Identifier: Apache-2.0 */
#include "io/sock_factory_local.h"

#include "base/mem.h"

struct local_factory {
    struct sock_factory f;
    struct netns *home;
};

static struct local_factory *of(struct sock_factory *f)
{
    return container_of(f, struct local_factory, f);
}

static int make_in(struct local_factory *l, const struct netns *where, const struct sock_spec *spec,
                   struct diag *lapse, struct diag *why)
{
    if (!where || netns_is_same(where, l->home)) {
        return sock_spec_make(spec, lapse, why);
    }
    int r = netns_enter(where, why);
    if (r == 0) {
        r = sock_spec_make(spec, lapse, why);
        netns_go_home(l->home);
    }
    return r;
}

static void local_ask(struct sock_factory *f, struct sock_ask *a)
{
    struct diag why = {.code = 0};
    struct diag lapse = {.code = 0};
    int r = make_in(of(f), sock_ask_where(a), sock_ask_spec(a), &lapse, &why);

    sock_ask_answer(a, r, &why, &lapse);
}

static void local_cancel(struct sock_factory *f, struct sock_ask *a)
{
    (void)f; /* every ask is answered at once: there is nothing to call back */
    (void)a;
}

static void local_free(struct sock_factory *f)
{
    (void)netns_unref(of(f)->home); /* its answer is always NULL */
    mem_free(of(f));
}

static const struct sock_factory_ops local_ops = {
    .name = "local",
    .ask = local_ask,
    .cancel = local_cancel,
    .free = local_free,
};

struct sock_factory *sock_factory_local_new(struct diag *why)
{
    struct netns *home = NULL;

    if (netns_from_thread(&home, why) < 0) {
        return NULL;
    }
    struct local_factory *l = mem_new(struct local_factory);
    l->f.ops = &local_ops;
    l->home = home;
    return &l->f;
}

int sock_factory_local_check(uint32_t mark, struct diag *why)
{
    AUTO(netns) struct netns *home = NULL;
    int r = netns_from_thread(&home, why);

    r = r < 0 ? r : netns_enter(home, why);
    if (r < 0) {
        return r;
    }
    int fd = sock_open(IP_V4, SOCK_TYPE_STREAM, why);
    if (fd < 0) {
        return fd;
    }
    r = sock_set_mark(fd, mark, why);
    sock_close(&fd);
    return r;
}
