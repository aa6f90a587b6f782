/* SPDX-License-Identifier: Apache-2.0 */
#include "io/resolver.h"

#include <ares.h>
#include <assert.h>
#include <poll.h>
#include <string.h>

#include "base/mem.h"
#include "base/num.h"

enum { PASSES_A_RUN = 64 }; /* sockets served before others get a turn */
enum { DEFAULT_TRY_MS = 2000, DEFAULT_TRIES = 3, DEFAULT_LIMIT_MS = 10000, DEFAULT_FLYING = 1024 };

struct resolver {
    struct loop *loop;
    struct task task;
    struct timer timer; /* the library's next timeout */
    ares_channel channel;
    struct list sockets;
    unsigned limit_ms;
    unsigned flying;
    unsigned flying_max;
};

struct resolver_socket { /* one that the library opened; the library closes it */
    struct list in_resolver;
    struct fd_watch watch;
    unsigned wants; /* FD_* */
};

enum lookup_step {
    LOOKUP_FLYING,    /* the library will call back, the timer runs */
    LOOKUP_FORGOTTEN, /* the owner has gone; freed by the call back */
    LOOKUP_FOUND,     /* addresses are there */
    LOOKUP_FAILED     /* failure is set; the library may still call back */
};

struct lookup {
    struct resolver *resolver;
    struct task *owner;
    struct timer limit;
    enum lookup_step step;
    bool called_back;
    int failure;
    unsigned ttl_s;
    unsigned count;
    struct ip addresses[LOOKUP_ADDRESSES_MAX];
    char *name;
};

static struct resolver_socket *find_socket(struct resolver *r, int fd)
{
    list_for_each (n, &r->sockets) {
        struct resolver_socket *s = container_of(n, struct resolver_socket, in_resolver);
        if (s->watch.fd == fd) {
            return s;
        }
    }
    return NULL;
}

static void drop_socket(struct resolver_socket *s)
{
    fd_watch_stop(&s->watch);
    list_remove(&s->in_resolver);
    mem_free(s);
}

static struct resolver_socket *add_socket(struct resolver *r, int fd)
{
    struct resolver_socket *s = mem_new(struct resolver_socket);

    if (fd_watch_start(&s->watch, r->loop, &r->task, fd) < 0) {
        mem_free(s); /* its queries run into their timeouts */
        return NULL;
    }
    fd_watch_blocked(&s->watch, FD_READABLE | FD_WRITABLE); /* the first edge tells what it is */
    list_append(&r->sockets, &s->in_resolver);
    return s;
}

/* The library says what it waits for; nothing at all comes before it closes the socket. */
static void on_socket_state(void *arg, ares_socket_t fd, int readable, int writable)
{
    struct resolver *r = arg;
    struct resolver_socket *s = find_socket(r, fd);

    if (!readable && !writable) {
        if (s) {
            drop_socket(s);
        }
        return;
    }
    s = s ? s : add_socket(r, fd);
    if (s) {
        s->wants = (readable ? FD_READABLE : 0u) | (writable ? FD_WRITABLE : 0u);
    }
}

static void set_timer(struct resolver *r)
{
    struct timeval tv;

    timer_clear(&r->timer);
    if (ares_timeout(r->channel, NULL, &tv)) {
        uint64_t ms = (uint64_t)tv.tv_sec * 1000 + (uint64_t)tv.tv_usec / 1000;
        timer_set(&r->timer, &r->task, ms + 1); /* not a moment too early */
    }
}

/* The library may read less than there is, and no second edge comes for the rest. */
static void look_again(struct resolver *r, int fd)
{
    struct resolver_socket *s = find_socket(r, fd);
    struct pollfd p = {.fd = fd, .events = POLLIN};

    if (s && poll(&p, 1, 0) > 0) {
        s->watch.ready |= FD_READABLE;
    }
}

/* Serves one socket that is ready; false when there is none. It may be gone afterwards. */
static bool serve_one(struct resolver *r)
{
    list_for_each (n, &r->sockets) {
        struct resolver_socket *s = container_of(n, struct resolver_socket, in_resolver);
        unsigned what = s->watch.ready & s->wants;
        int fd = s->watch.fd;
        if (what == 0) {
            continue;
        }
        fd_watch_blocked(&s->watch, what);
        ares_process_fd(r->channel, what & FD_READABLE ? fd : ARES_SOCKET_BAD,
                        what & FD_WRITABLE ? fd : ARES_SOCKET_BAD);
        look_again(r, fd);
        return true;
    }
    return false;
}

static void run(struct task *t, unsigned why)
{
    struct resolver *r = container_of(t, struct resolver, task);
    int passes = 0;

    if (why & WAKE_TIMER) {
        ares_process_fd(r->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
    }
    while (passes < PASSES_A_RUN && serve_one(r)) {
        passes++;
    }
    if (passes == PASSES_A_RUN) {
        task_wake(t, WAKE_IO);
    }
    set_timer(r);
}

static int make_channel(struct resolver *r, const struct resolver_options *o)
{
    struct ares_options a = {.flags = ARES_FLAG_NOSEARCH | ARES_FLAG_NOALIASES};
    char lookups[] = "b"; /* name servers only */
    int mask = ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_LOOKUPS |
               ARES_OPT_SOCK_STATE_CB;

    a.timeout = (int)(o->try_ms > 0 ? o->try_ms : DEFAULT_TRY_MS);
    a.tries = (int)(o->tries > 0 ? o->tries : DEFAULT_TRIES);
    a.lookups = lookups;
    a.sock_state_cb = on_socket_state;
    a.sock_state_cb_data = r;
    int status = ares_init_options(&r->channel, &a, mask);
    if (status == ARES_SUCCESS && o->servers) {
        status = ares_set_servers_ports_csv(r->channel, o->servers);
    }
    return status;
}

struct resolver *resolver_new(struct loop *l, const struct resolver_options *o, struct diag *why)
{
    struct resolver *r = mem_new(struct resolver);

    r->loop = l;
    r->limit_ms = o->limit_ms > 0 ? o->limit_ms : DEFAULT_LIMIT_MS;
    r->flying_max = o->flying_max > 0 ? o->flying_max : DEFAULT_FLYING;
    list_init(&r->sockets);
    task_init(&r->task, l, "resolver", run);
    int status = make_channel(r, o);
    if (status != ARES_SUCCESS) {
        (void)FAIL(why, -EINVAL, "set up name resolution: %s", ares_strerror(status));
        resolver_free(r);
        return NULL;
    }
    return r;
}

void resolver_free(struct resolver *r)
{
    if (!r) {
        return;
    }
    if (r->channel) {
        ares_destroy(r->channel); /* calls back for every lookup that was forgotten */
    }
    assert(r->flying == 0 && list_is_empty(&r->sockets));
    timer_clear(&r->timer);
    task_fini(&r->task);
    mem_free(r);
}

static void enter(struct lookup *q, enum lookup_step next)
{
    q->step = next;
    timer_clear(&q->limit);
}

static void fail(struct lookup *q, int failure)
{
    enter(q, LOOKUP_FAILED);
    q->failure = failure;
}

static int failure_of(int status)
{
    switch (status) {
    case ARES_ENODATA:
    case ARES_ENOTFOUND:
        return -ERR_NOT_FOUND;
    case ARES_EBADNAME:
        return -ERR_SYNTAX;
    case ARES_ETIMEOUT:
        return -ERR_DEADLINE;
    case ARES_ENOMEM:
        return -ENOMEM;
    case ARES_ECANCELLED:
    case ARES_EDESTRUCTION:
        return -ERR_CANCELLED;
    default:
        return -ERR_UNAVAILABLE; /* servers that refuse, fail or cannot be reached */
    }
}

static void add_address(struct lookup *q, const struct ares_addrinfo_node *n)
{
    struct sockaddr_storage ss = {.ss_family = AF_UNSPEC};
    struct endpoint e;

    memcpy(&ss, n->ai_addr, MIN_OF((size_t)n->ai_addrlen, sizeof(ss)));
    if (q->count == LOOKUP_ADDRESSES_MAX || endpoint_from_sockaddr(&e, &ss) < 0) {
        return;
    }
    unsigned ttl = n->ai_ttl > 0 ? (unsigned)n->ai_ttl : 0;
    q->ttl_s = q->count == 0 ? ttl : MIN_OF(q->ttl_s, ttl);
    q->addresses[q->count++] = e.ip;
}

static void lookup_release(struct lookup *q)
{
    timer_clear(&q->limit);
    mem_free(q->name);
    mem_free(q);
}

/* May come from inside lookup_new, the resolver's task, or resolver_free. */
static void on_answer(void *arg, int status, int timeouts, struct ares_addrinfo *info)
{
    struct lookup *q = arg;

    (void)timeouts;
    q->resolver->flying--;
    q->called_back = true;
    if (q->step == LOOKUP_FORGOTTEN) {
        lookup_release(q);
    } else if (q->step == LOOKUP_FLYING) {
        for (struct ares_addrinfo_node *n = info ? info->nodes : NULL; n; n = n->ai_next) {
            add_address(q, n);
        }
        if (q->count > 0) {
            enter(q, LOOKUP_FOUND);
        } else {
            fail(q, status == ARES_SUCCESS ? -ERR_NOT_FOUND : failure_of(status));
        }
        task_wake(q->owner, WAKE_CHILD);
    }
    if (info) {
        ares_freeaddrinfo(info);
    }
}

static void start(struct lookup *q, enum ip_family family)
{
    /* unsorted: sorting would open a socket an address */
    struct ares_addrinfo_hints hints = {.ai_flags = ARES_AI_NOSORT, .ai_socktype = SOCK_STREAM};
    struct resolver *r = q->resolver;

    hints.ai_family = family == IP_V4 ? AF_INET : family == IP_V6 ? AF_INET6 : AF_UNSPEC;
    r->flying++;
    timer_set(&q->limit, q->owner, r->limit_ms);
    ares_getaddrinfo(r->channel, q->name, NULL, &hints, on_answer, q);
    set_timer(r);
}

/* The library asks servers for an IPv4 address in text form when both families are wanted. */
static bool is_address(struct lookup *q, enum ip_family family)
{
    struct ip ip;

    if (ip_parse(&ip, q->name, strlen(q->name)) < 0 || (family != IP_NONE && ip.family != family)) {
        return false;
    }
    q->addresses[q->count++] = ip;
    return true;
}

struct lookup *lookup_new(struct resolver *r, const char *name, enum ip_family family,
                          struct task *owner)
{
    struct lookup *q = mem_new(struct lookup);

    q->resolver = r;
    q->owner = owner;
    q->name = mem_strdup(name);
    q->called_back = true; /* nothing is under way yet */
    if (r->flying >= r->flying_max) {
        fail(q, -ERR_LIMIT);
        task_wake(owner, WAKE_CHILD);
        return q;
    }
    if (is_address(q, family)) {
        enter(q, LOOKUP_FOUND);
        task_wake(owner, WAKE_CHILD);
        return q;
    }
    q->called_back = false;
    start(q, family);
    return q;
}

void lookup_free(struct lookup *q)
{
    if (!q) {
        return;
    }
    if (q->called_back) {
        lookup_release(q);
    } else {
        enter(q, LOOKUP_FORGOTTEN);
    }
}

int lookup_result(struct lookup *q, const struct ip **out, struct diag *why)
{
    if (q->step == LOOKUP_FLYING) {
        if (!timer_is_due(&q->limit)) {
            return -EAGAIN;
        }
        fail(q, -ERR_DEADLINE);
    }
    if (q->step == LOOKUP_FAILED) {
        return FAIL(why, q->failure, "look up %s: %s", q->name, err_text(q->failure));
    }
    *out = q->addresses;
    return (int)q->count;
}

unsigned lookup_ttl_s(const struct lookup *q)
{
    return q->ttl_s;
}
