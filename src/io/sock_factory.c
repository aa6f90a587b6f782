/* SPDX-License-Identifier: Apache-2.0 */
#include "io/sock_factory.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

enum { WARN_MS = 10000 };

static struct log_scope scope = LOG_SCOPE("socket");

struct sock_ask {
    struct sock_factory *factory;
    struct netns *where;
    struct task *owner;
    struct sock_spec spec;
    int answer; /* -EAGAIN: none yet; a descriptor until it is taken */
    struct diag why;
    struct diag lapse;
};

struct sock_ask *sock_ask_new(struct sock_factory *f, struct netns *where,
                              const struct sock_spec *spec, struct task *owner)
{
    struct sock_ask *a = mem_new(struct sock_ask);

    a->factory = f;
    a->where = where ? netns_ref(where) : NULL;
    a->spec = *spec;
    a->answer = -EAGAIN;
    f->ops->ask(f, a);
    a->owner = owner; /* an answer that is there already needs no wake */
    return a;
}

void sock_ask_free(struct sock_ask *a)
{
    if (!a) {
        return;
    }
    if (a->answer == -EAGAIN) {
        a->factory->ops->cancel(a->factory, a);
    }
    sock_close(&a->answer);
    (void)netns_unref(a->where); /* its answer is always NULL */
    mem_free(a);
}

void sock_ask_own(struct sock_ask *a, struct task *owner)
{
    a->owner = owner;
}

int sock_ask_take(struct sock_ask *a, struct diag *why)
{
    int answer = a->answer;

    if (answer >= 0) {
        a->answer = -ERR_CANCELLED; /* it can be taken once */
    } else if (answer != -EAGAIN) {
        (void)diag_note(why, answer, "%s", a->why.text);
    }
    return answer;
}

const struct diag *sock_ask_lapse(const struct sock_ask *a)
{
    return &a->lapse;
}

/* Contract 3.1: a warning. What is amiss with one socket mostly is with the next ones, too. */
static void tell_lapse(struct sock_factory *f, const struct diag *lapse)
{
    uint64_t now = clock_mono_ms();

    f->lapses++;
    if (now >= f->warn_from_ms) {
        log_warn(&scope, "a socket is used without its source address, transparency or shared port",
                 F_DIAG(lapse), F_U64("times", f->lapses - f->lapses_told));
        f->lapses_told = f->lapses;
        f->warn_from_ms = now + WARN_MS;
    }
}

void sock_ask_answer(struct sock_ask *a, int fd_or_failure, const struct diag *why,
                     const struct diag *lapse)
{
    if (fd_or_failure >= 0 && lapse->code < 0) {
        tell_lapse(a->factory, lapse);
    }
    a->answer = fd_or_failure == -EAGAIN ? -EIO : fd_or_failure; /* "later" is no answer */
    a->why = *why;
    a->lapse = *lapse;
    if (a->owner) {
        task_wake(a->owner, WAKE_CHILD);
    }
}

const struct sock_spec *sock_ask_spec(const struct sock_ask *a)
{
    return &a->spec;
}

struct netns *sock_ask_where(const struct sock_ask *a)
{
    return a->where;
}

/* Contract 3.1: where a source cannot be kept, the connection goes on without it. */
static void keep_source(int fd, const struct sock_spec *spec, struct diag *lapse)
{
    int r = sock_set_transparent(fd, lapse);

    r = r < 0 ? r : sock_bind_source(fd, &spec->at.ip, lapse);
    (void)r; /* lapse has it */
}

static int make_connect(int fd, const struct sock_spec *spec, struct diag *lapse)
{
    (void)sock_set_nodelay(fd);                     /* contract 3.1: ignored */
    (void)sock_set_keepalive(fd, &spec->keepalive); /* contract 3.1: ignored */
    if (spec->at.ip.family != IP_NONE) {
        keep_source(fd, spec, lapse);
    }
    return 0;
}

/* Contract 7.9: with a shared port nothing else is reused; without one the address is. */
static int make_listen(int fd, const struct sock_spec *spec, struct diag *lapse, struct diag *why)
{
    int r = 0;

    if (spec->reuse_port) {
        r = sock_set_reuse_port(fd, lapse); /* a warning for TCP (contract 7.5) */
    }
    if (!spec->reuse_port || r < 0) {
        r = sock_set_reuse_address(fd, why);
    }
    r = r < 0 ? r : sock_bind(fd, &spec->at, why);
    if (r == 0 && spec->transparent) {
        (void)sock_set_transparent(fd, lapse); /* lapse has it */
    }
    return r < 0 ? r : sock_listen(fd, spec->backlog, why);
}

static int make_datagram(int fd, const struct sock_spec *spec, struct diag *why)
{
    int r = spec->reuse_port ? sock_set_reuse_port(fd, why) : 0;

    if (r == 0 && spec->transparent) {
        r = sock_set_transparent(fd, why);
    }
    if (r == 0 && spec->at.ip.family != IP_NONE) {
        r = sock_bind(fd, &spec->at, why);
    }
    return r;
}

static int finish_role(int fd, const struct sock_spec *spec, struct diag *lapse, struct diag *why)
{
    switch (spec->role) {
    case SOCK_ROLE_LISTEN:
        return make_listen(fd, spec, lapse, why);
    case SOCK_ROLE_CONNECT:
        return make_connect(fd, spec, lapse);
    case SOCK_ROLE_DATAGRAM:
        return make_datagram(fd, spec, why);
    }
    return FAIL(why, -EINVAL, "make a socket of no known role");
}

int sock_spec_make(const struct sock_spec *spec, struct diag *lapse, struct diag *why)
{
    bool datagram = spec->role == SOCK_ROLE_DATAGRAM;
    int fd = sock_open(spec->family, datagram ? SOCK_TYPE_DATAGRAM : SOCK_TYPE_STREAM, why);

    lapse->code = 0;
    if (fd < 0) {
        return fd;
    }
    int r = sock_set_mark(fd, spec->mark, why);
    r = r < 0 ? r : finish_role(fd, spec, lapse, why);
    if (r < 0) {
        sock_close(&fd);
        return r;
    }
    return fd;
}
