/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/http_get.h"

#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/num.h"
#include "base/str.h"
#include "codec/h1head.h"
#include "io/netns.h"
#include "io/sock.h"

void http_answer_fini(struct http_answer *a)
{
    mem_free(a->body);
    *a = (struct http_answer){0};
}

/* ---- reading what came */

/* "HTTP/1.1 200 OK" */
static int read_status(struct slice line, unsigned *out)
{
    uint32_t status;

    if (!slice_has_prefix(line, "HTTP/1.") || line.len < 12 || line.p[8] != ' ' ||
        num_parse_u32(line.p + 9, 3, 999, &status) < 0) {
        return -ERR_SYNTAX;
    }
    *out = status;
    return 0;
}

static bool content_length(const struct h1_head *h, uint64_t *out)
{
    for (unsigned i = 0; i < h->count; i++) {
        const struct h1_field *f = &h->fields[i];
        if (slice_is_any_case(f->name, "content-length")) {
            return num_parse_u64(f->value.p, f->value.len, HTTP_GET_BYTES_MAX, out) == 0;
        }
    }
    return false;
}

int http_answer_read(const char *text, size_t len, struct http_answer *out, struct diag *why)
{
    struct h1_head head;
    unsigned status = 0;
    size_t seen = 0;
    ssize_t end = h1_section_end(text, len, &seen, NULL);
    size_t head_len = end > 0 ? (size_t)end : 0;
    const char *eol = head_len > 0 ? memmem(text, head_len, "\r\n", 2) : NULL;
    uint64_t length = 0;

    if (!eol || read_status((struct slice){text, (size_t)(eol - text)}, &status) < 0 ||
        h1_fields_parse(eol + 2, head_len - (size_t)(eol + 2 - text), &head, why) < 0) {
        return FAIL(why, len > 0 && end == 0 ? -ERR_TRUNCATED : -ERR_SYNTAX,
                    "the answer is no HTTP");
    }
    size_t body_len = len - head_len;
    if (content_length(&head, &length)) {
        if (length > body_len) {
            return FAIL(why, -ERR_TRUNCATED, "the answer ended after %zu of %llu bytes", body_len,
                        (unsigned long long)length);
        }
        body_len = (size_t)length;
    }
    *out = (struct http_answer){status, mem_dup(text + head_len, body_len), body_len};
    return 0;
}

/* ---- the connection */

struct wait {
    int fd;
    uint64_t until_ms;
};

static int wait_for(const struct wait *w, short what)
{
    struct pollfd p = {.fd = w->fd, .events = what};
    uint64_t now = clock_mono_ms();
    int r = poll(&p, 1, now < w->until_ms ? (int)(w->until_ms - now) : 0);

    if (r < 0 && errno != EINTR) {
        return neg_errno();
    }
    return r == 0 ? -ERR_DEADLINE : 0;
}

static int open_in_netns(const struct http_where *where, struct diag *why)
{
    NETNS_VISIT(visit);

    if (where->netns) {
        int r = netns_enter_path_blocking(&visit, where->netns, why);
        if (r < 0) {
            return r;
        }
    }
    return sock_open((enum ip_family)where->at.ip.family, SOCK_TYPE_STREAM, why);
}

static int connect_blocking(const struct wait *w, const struct endpoint *at)
{
    struct sockaddr_storage ss;
    socklen_t len = endpoint_to_sockaddr(at, &ss);
    int r;

    if (connect(w->fd, (struct sockaddr *)&ss, len) == 0) {
        return 0;
    }
    if (errno != EINPROGRESS) {
        return neg_errno();
    }
    r = wait_for(w, POLLOUT);
    return r < 0 ? r : sock_error(w->fd);
}

static int send_all_blocking(const struct wait *w, const struct strbuf *b)
{
    for (size_t sent = 0; sent < b->len;) {
        ssize_t n = send(w->fd, b->p + sent, b->len - sent, MSG_NOSIGNAL);
        if (n > 0) {
            sent += (size_t)n;
            continue;
        }
        int r = errno == EAGAIN ? wait_for(w, POLLOUT) : neg_errno();
        if (r < 0) {
            return r;
        }
    }
    return 0;
}

static int receive_all_blocking(const struct wait *w, struct strbuf *in)
{
    char piece[4096];

    for (;;) {
        ssize_t n = recv(w->fd, piece, sizeof(piece), 0);
        int r = 0;
        if (n == 0) {
            return in->overflow ? -ERR_TOO_LARGE : 0;
        }
        if (n > 0) {
            strbuf_add(in, piece, (size_t)n);
            r = in->overflow ? -ERR_TOO_LARGE : 0;
        } else {
            r = errno == EAGAIN ? wait_for(w, POLLIN) : neg_errno();
        }
        if (r < 0) {
            return r;
        }
    }
}

static int talk_blocking(const struct wait *w, const struct http_where *where, const char *path,
                         struct strbuf *in)
{
    AUTO(strbuf) struct strbuf request = {0};
    char at[ENDPOINT_TEXT];
    int r = connect_blocking(w, &where->at);

    strbuf_printf(&request, "GET %s HTTP/1.0\r\nHost: %s\r\nConnection: close\r\n\r\n", path,
                  endpoint_format(&where->at, at));
    if (r == 0) {
        r = send_all_blocking(w, &request);
    }
    return r < 0 ? r : receive_all_blocking(w, in);
}

int http_get_blocking(const struct http_where *where, const char *path, struct http_answer *out,
                      struct diag *why)
{
    AUTO(strbuf) struct strbuf in = {.limit = HTTP_GET_BYTES_MAX};
    struct wait w = {.until_ms = clock_mono_ms() + where->limit_ms};
    char at[ENDPOINT_TEXT];
    int r;

    w.fd = open_in_netns(where, why);
    if (w.fd < 0) {
        return w.fd;
    }
    r = talk_blocking(&w, where, path, &in);
    close(w.fd);
    if (r < 0) {
        return FAIL(why, r, "%s%s: %s", endpoint_format(&where->at, at), path, err_text(r));
    }
    return http_answer_read(strbuf_text(&in), in.len, out, why);
}
