/* SPDX-License-Identifier: Apache-2.0 */
#include "script_server.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/ip.h"
#include "base/num.h"
#include "base/str.h"

enum { CONNS_MAX = 8, REQUEST_MAX = 8192 };

struct conn {
    int fd;
    char in[REQUEST_MAX];
    size_t len;
};

static void remember(struct script_server *s, const char *text, size_t len)
{
    (void)pthread_mutex_lock(&s->lock);
    if (s->asked_len + len + 1 < sizeof(s->asked)) {
        memcpy(s->asked + s->asked_len, text, len);
        s->asked_len += len;
        s->asked[s->asked_len++] = '\n';
    }
    (void)pthread_mutex_unlock(&s->lock);
}

static bool fits(const struct script_line *l, const char *head)
{
    size_t n = strlen(l->method);
    const char *target = head + n + 1;
    const char *star = strchr(l->path, '*');

    if (strncmp(head, l->method, n) != 0 || head[n] != ' ') {
        return false;
    }
    size_t prefix = star ? (size_t)(star - l->path) : strlen(l->path);
    const char *end = strchr(target, ' ');
    const char *piece = star ? strstr(target, star + 1) : target;
    return strncmp(target, l->path, prefix) == 0 && piece && piece < end;
}

static void answer(struct script_server *s, const struct conn *c)
{
    const struct script_line *l = s->lines;
    char text[4096];

    while (l->method && !fits(l, c->in)) {
        l++;
    }
    int status = l->method ? l->status : 404;
    const char *body = l->method ? l->body : "{\"kind\":\"Status\",\"code\":404}";
    int n =
        snprintf(text, sizeof(text), "HTTP/1.1 %d X\r\nContent-Type: application/json\r\n", status);
    if (!body) {
        n += snprintf(text + n, sizeof(text) - (size_t)n, "Transfer-Encoding: chunked\r\n\r\n");
    } else if (strstr(c->in, "watch=")) {
        n += snprintf(text + n, sizeof(text) - (size_t)n,
                      "Transfer-Encoding: chunked\r\n\r\n%zx\r\n%s\r\n", strlen(body), body);
    } else {
        n += snprintf(text + n, sizeof(text) - (size_t)n, "Content-Length: %zu\r\n\r\n%s",
                      strlen(body), body);
    }
    (void)send(c->fd, text, (size_t)n, MSG_NOSIGNAL);
}

/* One whole request, if it is there. */
static bool take_request(struct script_server *s, struct conn *c)
{
    char *end = c->len > 0 ? strstr(c->in, "\r\n\r\n") : NULL;
    const char *length = end ? strcasestr(c->in, "content-length:") : NULL;
    uint32_t body = 0;

    if (!end) {
        return false;
    }
    if (length && length < end) {
        struct slice v = slice_of(length + strlen("content-length:"));
        (void)slice_cut(v, '\r', &v, &(struct slice){0});
        v = slice_trim(v);
        if (num_parse_u32(v.p, v.len, REQUEST_MAX, &body) < 0) {
            exit(1);
        }
    }
    size_t whole = (size_t)(end + 4 - c->in) + body;
    if (c->len < whole) {
        return false;
    }
    remember(s, c->in, (size_t)(strstr(c->in, "\r\n") - c->in));
    remember(s, end + 4, body);
    answer(s, c);
    memmove(c->in, c->in + whole, c->len - whole + 1);
    c->len -= whole;
    return true;
}

static void serve(struct script_server *s, struct conn *c)
{
    ssize_t n = recv(c->fd, c->in + c->len, sizeof(c->in) - 1 - c->len, MSG_DONTWAIT);

    if (n <= 0) {
        close(c->fd);
        c->fd = -1;
        return;
    }
    c->len += (size_t)n;
    c->in[c->len] = '\0';
    while (take_request(s, c)) {
    }
}

static void take_conn(const struct script_server *s, struct conn *conns)
{
    for (int i = 0; i < CONNS_MAX; i++) {
        if (conns[i].fd < 0) {
            conns[i].fd = accept4(s->fd, NULL, NULL, SOCK_CLOEXEC);
            conns[i].len = 0;
            return;
        }
    }
}

static void *thread_main(void *arg)
{
    static struct conn conns[CONNS_MAX];
    struct script_server *s = arg;

    for (int i = 0; i < CONNS_MAX; i++) {
        conns[i].fd = -1;
    }
    while (!atomic_load(&s->stop)) {
        struct pollfd p[CONNS_MAX + 1] = {{.fd = s->fd, .events = POLLIN}};
        for (int i = 0; i < CONNS_MAX; i++) {
            p[i + 1] = (struct pollfd){.fd = conns[i].fd, .events = POLLIN};
        }
        (void)poll(p, CONNS_MAX + 1, 20);
        for (int i = 0; i < CONNS_MAX; i++) {
            if (p[i + 1].revents) {
                serve(s, &conns[i]);
            }
        }
        if (p[0].revents) {
            take_conn(s, conns);
        }
    }
    for (int i = 0; i < CONNS_MAX; i++) {
        if (conns[i].fd >= 0) {
            close(conns[i].fd);
        }
    }
    return NULL;
}

void script_server_start(struct script_server *s, const struct script_line *lines)
{
    struct endpoint e = {.ip = {.family = IP_V4, .bytes = {127, 0, 0, 1}}};
    struct sockaddr_storage ss;
    socklen_t len = endpoint_to_sockaddr(&e, &ss);

    memset(s, 0, sizeof(*s));
    s->lines = lines;
    (void)pthread_mutex_init(&s->lock, NULL);
    s->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (s->fd < 0 || bind(s->fd, (struct sockaddr *)&ss, len) < 0 || listen(s->fd, 8) < 0 ||
        getsockname(s->fd, (struct sockaddr *)&ss, &len) < 0 ||
        endpoint_from_sockaddr(&e, &ss) < 0 ||
        pthread_create(&s->thread, NULL, thread_main, s) != 0) {
        exit(1);
    }
    s->port = e.port;
}

void script_server_stop(struct script_server *s)
{
    atomic_store(&s->stop, true);
    (void)pthread_join(s->thread, NULL);
    close(s->fd);
    (void)pthread_mutex_destroy(&s->lock);
}

bool script_server_was_asked(struct script_server *s, const char *text)
{
    (void)pthread_mutex_lock(&s->lock);
    s->asked[s->asked_len] = '\0';
    bool found = strstr(s->asked, text) != NULL;
    (void)pthread_mutex_unlock(&s->lock);
    return found;
}
