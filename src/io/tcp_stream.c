/* SPDX-License-Identifier: Apache-2.0 */
#include "io/tcp_stream.h"

#include <fcntl.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "base/mem.h"
#include "io/sock.h"
#include "io/sock_factory.h"
#include "io/splice_int.h"

enum tcp_step {
    TCP_ASKING,     /* a factory makes the socket; fd is -1, the timer runs */
    TCP_CONNECTING, /* connect() is under way, the timer runs */
    TCP_OPEN,       /* reads and writes go to the socket; failure says whether a call has failed */
    TCP_FAILED      /* never opened: every call answers failure */
};

struct tcp_dial { /* what an open socket needs no more */
    struct loop *loop;
    struct sock_ask *ask; /* NULL unless asking */
    struct timer limit;   /* armed while connecting, if there is somebody to wake */
    uint64_t deadline_ms; /* of connecting, on the loop's clock */
    struct endpoint to;
};

struct tcp_stream {
    struct stream s;
    struct tcp_dial *dial; /* NULL unless asking or connecting */
    struct fd_watch watch;
    int failure;  /* the first one; 0 so far */
    uint8_t step; /* enum tcp_step */
};

static struct tcp_stream *of(struct stream *s)
{
    return container_of(s, struct tcp_stream, s);
}

static void drop_dial(struct tcp_stream *c)
{
    if (c->dial) {
        timer_clear(&c->dial->limit);
        sock_ask_free(c->dial->ask);
        mem_free(MOVE(c->dial));
    }
}

static void enter(struct tcp_stream *c, enum tcp_step next)
{
    c->step = (uint8_t)next;
    if (next == TCP_OPEN || next == TCP_FAILED) {
        drop_dial(c);
    }
}

static int fail_connect(struct tcp_stream *c, int r)
{
    char to[ENDPOINT_TEXT];

    c->failure = FAIL(stream_why(&c->s), r, "connect to %s: %s", endpoint_format(&c->dial->to, to),
                      err_text(r));
    enter(c, TCP_FAILED);
    return c->failure;
}

static bool is_late(const struct tcp_stream *c)
{
    return loop_now_ms(c->dial->loop) >= c->dial->deadline_ms;
}

/* c owns fd from here on. */
static int start_watch(struct tcp_stream *c, struct loop *l, int fd)
{
    int r = fd_watch_start(&c->watch, l, c->s.owner, fd);

    if (r < 0) {
        enter(c, TCP_FAILED);
        c->failure = FAIL(stream_why(&c->s), r, "watch a socket: %s", err_text(r));
    }
    return r;
}

static int start_connect(struct tcp_stream *c, int fd)
{
    struct sockaddr_storage ss;
    socklen_t len = endpoint_to_sockaddr(&c->dial->to, &ss);
    int r = start_watch(c, c->dial->loop, fd);

    if (r < 0) {
        return r;
    }
    enter(c, TCP_CONNECTING);
    if (connect(fd, (struct sockaddr *)&ss, len) < 0) {
        r = neg_errno();
        if (r != -EINPROGRESS) {
            return fail_connect(c, r);
        }
        fd_watch_blocked(&c->watch, FD_WRITABLE);
    }
    return 0;
}

static int step_asking(struct tcp_stream *c)
{
    struct diag why;
    int fd = sock_ask_take(c->dial->ask, &why);

    if (fd == -EAGAIN) {
        return is_late(c) ? fail_connect(c, -ERR_DEADLINE) : fd;
    }
    sock_ask_free(MOVE(c->dial->ask));
    if (fd >= 0) {
        return start_connect(c, fd);
    }
    enter(c, TCP_FAILED);
    stream_note(&c->s, &why); /* what could not be made */
    c->failure = fd;
    return fd;
}

static int step_connecting(struct tcp_stream *c)
{
    if (c->watch.ready & FD_WRITABLE) {
        int r = sock_error(c->watch.fd);
        if (r < 0) {
            return fail_connect(c, r);
        }
        enter(c, TCP_OPEN);
        return 0;
    }
    return is_late(c) ? fail_connect(c, -ERR_DEADLINE) : -EAGAIN;
}

static int step(struct tcp_stream *c)
{
    switch ((enum tcp_step)c->step) {
    case TCP_ASKING:
        return step_asking(c);
    case TCP_CONNECTING:
        return step_connecting(c);
    case TCP_OPEN:
    case TCP_FAILED:
        break;
    }
    return c->failure;
}

/* 0 once open, -EAGAIN until then, else the failure. */
static int settle(struct tcp_stream *c)
{
    int r = c->step == TCP_FAILED ? c->failure : 0;

    while (r == 0 && c->step != TCP_OPEN) {
        r = step(c);
    }
    return r;
}

/* What a failed system call means to the caller. */
static int call_failed(struct tcp_stream *c, unsigned what, const char *verb)
{
    int r = neg_errno();

    if (r == -EAGAIN) {
        fd_watch_blocked(&c->watch, what);
        return r;
    }
    c->failure = c->failure < 0 ? c->failure : r;
    return FAIL(stream_why(&c->s), r, "%s: %s", verb, err_text(r));
}

/* Less than asked for: the next call would answer EAGAIN, and an edge comes when that changes. Not so
 * behind an end, whose edge may be the one that was already seen. */
static void note_short(struct tcp_stream *c, unsigned what)
{
    if (!(c->watch.ready & FD_ENDED)) {
        fd_watch_blocked(&c->watch, what);
    }
}

static size_t total(const struct iovec *v, int count)
{
    size_t n = 0;

    for (int i = 0; i < count; i++) {
        n += v[i].iov_len;
    }
    return n;
}

/* Ready for a call of this kind? */
static int may(struct tcp_stream *c, unsigned what)
{
    int r = settle(c);

    if (r == 0 && !(c->watch.ready & what)) {
        r = -EAGAIN;
    }
    return r;
}

static ssize_t tcp_readv(struct stream *s, const struct iovec *into, int count)
{
    struct tcp_stream *c = of(s);
    int r = may(c, FD_READABLE);

    if (r < 0) {
        return r;
    }
    ssize_t n = readv(c->watch.fd, into, count);
    if (n < 0) {
        return call_failed(c, FD_READABLE, "read");
    }
    if (n == 0) { /* the kernel tells a failure once and then says "end", which it is not */
        return c->failure;
    }
    if ((size_t)n < total(into, count)) {
        note_short(c, FD_READABLE);
    }
    return n;
}

static ssize_t tcp_read(struct stream *s, void *into, size_t room)
{
    struct iovec one = {into, room};

    return tcp_readv(s, &one, 1);
}

static ssize_t tcp_writev(struct stream *s, const struct iovec *from, int count)
{
    struct tcp_stream *c = of(s);
    struct msghdr m = {.msg_iov = (struct iovec *)(uintptr_t)from, .msg_iovlen = (size_t)count};
    int r = may(c, FD_WRITABLE);

    if (r < 0) {
        return r;
    }
    ssize_t n = sendmsg(c->watch.fd, &m, MSG_NOSIGNAL);
    if (n < 0) {
        return call_failed(c, FD_WRITABLE, "write");
    }
    if ((size_t)n < total(from, count)) {
        note_short(c, FD_WRITABLE);
    }
    return n;
}

static ssize_t tcp_write(struct stream *s, const void *from, size_t len)
{
    struct iovec one = {(void *)(uintptr_t)from, len};

    return tcp_writev(s, &one, 1);
}

ssize_t tcp_stream_splice_in(struct stream *s, struct splice_pipe *p)
{
    struct tcp_stream *c = of(s);
    int r = may(c, FD_READABLE);

    if (r < 0) {
        return r;
    }
    ssize_t n = splice(c->watch.fd, NULL, p->write_end, NULL, SPLICE_PIPE_BYTES,
                       SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
    if (n < 0) {
        return call_failed(c, FD_READABLE, "splice from");
    }
    p->len += (size_t)n;
    return n > 0 ? n : c->failure;
}

ssize_t tcp_stream_splice_out(struct stream *s, struct splice_pipe *p)
{
    struct tcp_stream *c = of(s);
    int r = may(c, FD_WRITABLE);

    if (r < 0) {
        return r;
    }
    ssize_t n =
        splice(p->read_end, NULL, c->watch.fd, NULL, p->len, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
    if (n < 0) {
        return call_failed(c, FD_WRITABLE, "splice to");
    }
    p->len -= (size_t)n;
    return n;
}

static int tcp_flush(struct stream *s)
{
    return settle(of(s));
}

static int tcp_shut(struct stream *s)
{
    struct tcp_stream *c = of(s);
    int r = settle(c);

    if (r == 0 && shutdown(c->watch.fd, SHUT_WR) < 0) {
        r = call_failed(c, 0, "shutdown");
    }
    return r;
}

static void tcp_close(struct stream *s, int why)
{
    struct tcp_stream *c = of(s);
    struct linger hard = {.l_onoff = 1, .l_linger = 0};

    drop_dial(c);
    fd_watch_stop(&c->watch);
    if (why < 0) {
        (void)setsockopt(c->watch.fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard)); /* best effort */
    }
    sock_close(&c->watch.fd);
    stream_fini(&c->s);
    mem_free(c);
}

static void tcp_owned(struct stream *s)
{
    struct tcp_stream *c = of(s);
    struct tcp_dial *d = c->dial;

    c->watch.task = s->owner;
    if (!d) {
        return;
    }
    timer_clear(&d->limit);
    if (d->ask) {
        sock_ask_own(d->ask, s->owner);
    }
    if (s->owner) {
        uint64_t now = loop_now_ms(d->loop);
        timer_set(&d->limit, s->owner, d->deadline_ms > now ? d->deadline_ms - now : 0);
    }
}

static size_t tcp_unsent(const struct stream *s)
{
    int n = 0;

    return ioctl(tcp_stream_fd(s), SIOCOUTQ, &n) == 0 && n > 0 ? (size_t)n : 0;
}

static const struct stream_ops tcp_ops = {
    .name = "tcp",
    .read = tcp_read,
    .write = tcp_write,
    .flush = tcp_flush,
    .shut = tcp_shut,
    .close = tcp_close,
    .owned = tcp_owned,
    .readv = tcp_readv,
    .writev = tcp_writev,
    .unsent = tcp_unsent,
};

static struct tcp_stream *make(void)
{
    struct tcp_stream *c = mem_new(struct tcp_stream);

    c->s.ops = &tcp_ops;
    c->watch.fd = -1;
    return c;
}

/* The timer comes with the owner. */
static struct tcp_stream *make_dial(struct loop *l, const struct endpoint *to, uint64_t limit_ms)
{
    struct tcp_stream *c = make();

    c->dial = mem_new(struct tcp_dial);
    c->dial->loop = l;
    c->dial->to = *to;
    c->dial->deadline_ms = loop_now_ms(l) + limit_ms;
    return c;
}

struct stream *tcp_stream_new(struct loop *l, int take_fd)
{
    struct tcp_stream *c = make();

    c->step = TCP_OPEN;
    (void)start_watch(c, l, take_fd); /* told by the first call */
    return &c->s;
}

struct stream *tcp_stream_connect(struct loop *l, int take_fd, const struct endpoint *to,
                                  uint64_t limit_ms)
{
    struct tcp_stream *c = make_dial(l, to, limit_ms);

    (void)start_connect(c, take_fd); /* told by the first call */
    return &c->s;
}

struct stream *tcp_stream_dial(struct loop *l, struct sock_ask *take_ask, const struct endpoint *to,
                               uint64_t limit_ms)
{
    struct tcp_stream *c = make_dial(l, to, limit_ms);

    c->dial->ask = take_ask;
    c->step = TCP_ASKING;
    (void)settle(c); /* an answer that is there already starts the connection now */
    return &c->s;
}

bool stream_is_tcp(const struct stream *s)
{
    return s->ops == &tcp_ops;
}

int tcp_stream_fd(const struct stream *s)
{
    return ((const struct tcp_stream *)(const void *)s)->watch.fd;
}

int tcp_stream_take_fd(struct stream *s)
{
    struct tcp_stream *c = of(s);
    int fd = c->watch.fd;

    drop_dial(c);
    fd_watch_stop(&c->watch);
    stream_fini(&c->s);
    mem_free(c);
    return fd;
}
_Static_assert(offsetof(struct tcp_stream, s) == 0, "tcp_stream_fd reads through the stream");
_Static_assert(sizeof(struct tcp_stream) <= 64, "per-connection memory is a budget");
