/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/runtime_client.h"

#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/str.h"
#include "codec/json.h"
#include "io/unix_sock.h"

enum { SEND_MS = 10000 };

int runtime_open(struct runtime_client *c, const char *path, struct diag *why)
{
    int fd = unix_connect(path, SOCK_STREAM, why);

    if (fd < 0) {
        return fd;
    }
    c->fd = fd;
    bytes_init(&c->in, RUNTIME_LINE_MAX);
    return 0;
}

void runtime_close(struct runtime_client *c)
{
    if (c->fd >= 0) {
        close(c->fd);
        c->fd = -1;
        bytes_fini(&c->in);
    }
}

/* ---- sending */

static ssize_t send_piece(int fd, const char *p, size_t len, const int *fds)
{
    union {
        struct cmsghdr head;
        char room[CMSG_SPACE(RUNTIME_STDIO * sizeof(int))];
    } control = {0};
    struct iovec piece = {(char *)(uintptr_t)p, len};
    struct msghdr m = {.msg_iov = &piece, .msg_iovlen = 1};

    if (fds) {
        m.msg_control = &control;
        m.msg_controllen = sizeof(control);
        struct cmsghdr *h = CMSG_FIRSTHDR(&m);
        h->cmsg_level = SOL_SOCKET;
        h->cmsg_type = SCM_RIGHTS;
        h->cmsg_len = CMSG_LEN(RUNTIME_STDIO * sizeof(int));
        memcpy(CMSG_DATA(h), fds, RUNTIME_STDIO * sizeof(int));
    }
    return sendmsg(fd, &m, MSG_NOSIGNAL);
}

int runtime_send_blocking(struct runtime_client *c, struct json *take_request, const int *fds,
                          struct diag *why)
{
    AUTO(json) struct json *request = take_request;
    AUTO(strbuf) struct strbuf line = {0};
    struct pollfd p = {.fd = c->fd, .events = POLLOUT};

    json_print(request, 0, &line);
    strbuf_putc(&line, '\n');
    for (size_t sent = 0; sent < line.len;) {
        ssize_t n = send_piece(c->fd, line.p + sent, line.len - sent, sent == 0 ? fds : NULL);
        if (n > 0) {
            sent += (size_t)n;
        } else if (errno != EAGAIN) {
            return FAIL(why, neg_errno(), "ask the node agent: %s", err_text(neg_errno()));
        } else if (poll(&p, 1, SEND_MS) <= 0) {
            return FAIL(why, -ERR_DEADLINE, "the node agent does not take the request");
        }
    }
    return 0;
}

/* ---- receiving */

/* 1 = a line was there. */
static int take_line(struct runtime_client *c, struct json **out, struct diag *why)
{
    const char *text = (const char *)bytes_peek(&c->in);
    const char *end = c->in.len > 0 ? memchr(text, '\n', c->in.len) : NULL;

    if (!end) {
        return 0;
    }
    size_t len = (size_t)(end - text);
    int r = json_parse(out, text, len, NULL, why);
    bytes_skip(&c->in, len + 1);
    return r < 0 ? r : 1;
}

/* 1 = something came, 0 = the end. */
static int receive(struct runtime_client *c, uint64_t until_ms)
{
    uint8_t *room = bytes_reserve(&c->in, 4096);
    struct pollfd p = {.fd = c->fd, .events = POLLIN};
    uint64_t now = clock_mono_ms();

    if (!room) {
        return -ERR_TOO_LARGE;
    }
    int r = poll(&p, 1, now < until_ms ? (int)(until_ms - now) : 0);
    if (r == 0) {
        return -ERR_DEADLINE;
    }
    ssize_t n = r < 0 ? -1 : recv(c->fd, room, 4096, 0);
    if (n < 0) {
        return errno == EINTR || errno == EAGAIN ? 1 : neg_errno();
    }
    bytes_commit(&c->in, (size_t)n);
    return n > 0;
}

int runtime_next_blocking(struct runtime_client *c, uint64_t limit_ms, struct json **out,
                          struct diag *why)
{
    uint64_t until_ms = clock_mono_ms() + limit_ms;

    for (;;) {
        int r = take_line(c, out, why);
        if (r != 0) {
            return r;
        }
        r = receive(c, until_ms);
        if (r < 0) {
            return FAIL(why, r, "node agent: %s", err_text(r));
        }
        if (r == 0) {
            return 0;
        }
    }
}

int runtime_failure(const struct json *answer, struct diag *why)
{
    const char *event = json_str_at(answer, "event", "");

    if (strcmp(event, "error") != 0 && strcmp(event, "failed") != 0) {
        return 0;
    }
    return FAIL(why, err_of_name(json_str_at(answer, "code", "")), "%s",
                json_str_at(answer, "error", "the node agent gives no reason"));
}

int runtime_ask_blocking(const char *path, struct json *take_request, uint64_t limit_ms,
                         struct json **out, struct diag *why)
{
    AUTO(json) struct json *request = take_request;
    AUTO(json) struct json *answer = NULL;
    struct runtime_client c;
    int r = runtime_open(&c, path, why);

    if (r < 0) {
        return r;
    }
    r = runtime_send_blocking(&c, MOVE(request), NULL, why);
    if (r == 0) {
        r = runtime_next_blocking(&c, limit_ms, &answer, why);
        r = r == 0 ? FAIL(why, -ERR_TRUNCATED, "the node agent closed without an answer") : r;
    }
    if (r > 0) {
        r = runtime_failure(answer, why);
    }
    runtime_close(&c);
    if (r < 0) {
        return r;
    }
    *out = MOVE(answer);
    return 0;
}
