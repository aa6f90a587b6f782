/* SPDX-License-Identifier: Apache-2.0 */
/* The body that comes. It is read from our buffer while something is there, and then straight from
 * the transport, into the reader's memory or lent from the transport's own. */
#include "base/num.h"
#include "http/h1_int.h"

void h1_in_ended(struct h1_exchange *x)
{
    x->in = H1_IN_ENDED;
    x->x.in_over = true;
}

static int truncated(struct h1_exchange *x)
{
    return FAIL(stream_why(&x->x.s), -ERR_TRUNCATED, "the connection ended inside the body");
}

/* The peer has ended its half: 0 where that is how a body ends. */
static int ended_below(struct h1_exchange *x)
{
    x->conn->ended = true;
    if (x->in != H1_IN_TO_CLOSE) {
        return truncated(x);
    }
    h1_in_ended(x);
    return 0;
}

/* Trailers */

static int add_trailers(struct h1_exchange *x, const struct h1_head *h)
{
    enum h1_underscore names = x->conn->limits.names;

    if (h->count > H1_TRAILERS_MAX) {
        return FAIL(stream_why(&x->x.s), -ERR_TOO_LARGE, "more than %d trailers", H1_TRAILERS_MAX);
    }
    for (unsigned i = 0; i < h->count; i++) {
        const struct h1_field *f = &h->fields[i];
        bool odd = names != H1_UNDERSCORE_ALLOW && memchr(f->name.p, '_', f->name.len);
        if (!odd && !h1_is_bad_trailer(f->name)) {
            message_add(&x->x.in_trailers, f->name, f->value);
        }
    }
    return message_is_whole(&x->x.in_trailers)
               ? 0
               : FAIL(stream_why(&x->x.s), -ERR_TOO_LARGE, "trailers are too large");
}

/* 0: they are there; 1: look again; -EAGAIN. */
static int take_trailers(struct h1_exchange *x)
{
    struct bytes *in = &x->conn->in;
    const char *p = (const char *)bytes_peek(in);
    ssize_t len = in->len > 0 ? h1_section_end(p, in->len, &x->seen, stream_why(&x->x.s)) : 0;
    UNINITIALIZED struct h1_head head;

    if (len < 0) {
        return (int)len;
    }
    if (len == 0 && in->len > H1_TRAILERS_BYTES_MAX) {
        return FAIL(stream_why(&x->x.s), -ERR_TOO_LARGE, "trailers are too large");
    }
    if (len == 0) {
        int r = h1_fill(x->conn);
        return r == 0 ? ended_below(x) : r;
    }
    int r = len > H1_TRAILERS_BYTES_MAX
                ? FAIL(stream_why(&x->x.s), -ERR_TOO_LARGE, "trailers are too large")
                : h1_fields_parse(p, (size_t)len, &head, stream_why(&x->x.s));
    r = r < 0 ? r : add_trailers(x, &head);
    if (r == 0) {
        bytes_skip(in, (size_t)len);
        h1_in_ended(x);
    }
    return r;
}

/* Octets that were looked at and used up. */
static void use_up(struct h1_exchange *x, size_t n)
{
    if (x->borrowed) {
        stream_skip(x->conn->below, n);
    } else {
        bytes_skip(&x->conn->in, n);
    }
}

/* What can be looked at: pieces, 0 at the end of the connection, or an error. */
static int window(struct h1_exchange *x, struct iovec *out, int max)
{
    struct h1_conn *c = x->conn;

    x->borrowed = c->in.len == 0 && c->below->ops->peek;
    if (x->borrowed) {
        return stream_peek(c->below, out, max);
    }
    if (c->in.len == 0) {
        int r = h1_fill(c);
        if (r <= 0) {
            return r;
        }
    }
    out[0] = (struct iovec){c->in.p + c->in.head, c->in.len};
    return 1;
}

/* Framing octets up to data. 1: look again (or data follows), or an error. */
static int pass_framing(struct h1_exchange *x, const struct iovec *v)
{
    ssize_t n = h1_chunk_frame(&x->chunk, v->iov_base, v->iov_len, stream_why(&x->x.s));

    if (n < 0) {
        return (int)n;
    }
    use_up(x, (size_t)n);
    if (x->chunk.step == H1_CHUNK_TRAILERS) {
        x->in = H1_IN_TRAILERS;
    }
    return 1;
}

/* No more than left octets of the pieces. */
static int trim(struct iovec *v, int count, uint64_t left)
{
    int n = 0;

    while (n < count && left > 0) {
        v[n].iov_len = (size_t)MIN_OF((uint64_t)v[n].iov_len, left);
        left -= v[n].iov_len;
        n++;
    }
    return n;
}

/* Of the current piece of body. UINT64_MAX: no end is known. */
static uint64_t left_of(const struct h1_exchange *x)
{
    return x->in == H1_IN_COUNTED                                     ? x->in_left
           : x->in == H1_IN_CHUNKED && x->chunk.step == H1_CHUNK_DATA ? x->chunk.left
           : x->in == H1_IN_CHUNKED                                   ? 0
                                                                      : UINT64_MAX;
}

static int peek_some(struct h1_exchange *x, struct iovec *out, int max)
{
    while (x->in != H1_IN_ENDED) {
        int n = x->in == H1_IN_TRAILERS ? take_trailers(x) : window(x, out, max);
        if (x->in == H1_IN_TRAILERS || x->in == H1_IN_ENDED) {
            if (n < 0) {
                return n;
            }
            continue;
        }
        if (n <= 0) {
            n = n == 0 ? ended_below(x) : n;
            if (n < 0) {
                return n;
            }
            continue;
        }
        uint64_t left = left_of(x);
        if (left > 0) {
            return trim(out, n, left);
        }
        n = pass_framing(x, out);
        if (n < 0) {
            return n;
        }
    }
    return 0;
}

/* Whether a call has got somewhere; a failure stays, and says what it was. */
static ssize_t judged(struct h1_exchange *x, ssize_t n)
{
    const struct diag *below = stream_diag(x->conn->below);

    if (n < 0 && n != -EAGAIN) {
        x->in_failure = (int)n;
        x->conn->last = true;
        if (stream_diag(&x->x.s)->code != n && below->code == n) {
            stream_note(&x->x.s, below);
        } else if (stream_diag(&x->x.s)->code != n) {
            (void)diag_note(stream_why(&x->x.s), (int)n, "body: %s", err_text((int)n));
        }
    }
    /* Silence is in order once the connection is another protocol's. */
    bool switched = x->in == H1_IN_TO_CLOSE && x->upgrade.len > 0;
    h1_await_body(x->conn, n == -EAGAIN && !switched);
    return n;
}

static int too_large(struct h1_exchange *x)
{
    return FAIL(stream_why(&x->x.s), -ERR_TOO_LARGE, "request body is too large");
}

int h1_body_peek(struct h1_exchange *x, struct iovec *out, int max)
{
    if (x->in_failure < 0) {
        return x->in_failure;
    }
    int n = peek_some(x, out, max);
    if (n > 0 && x->in_taken >= x->conn->limits.body_bytes) {
        n = too_large(x);
    } else if (n > 0) {
        n = trim(out, n, x->conn->limits.body_bytes - x->in_taken);
    }
    return (int)judged(x, n);
}

static void count_in(struct h1_exchange *x, size_t n)
{
    x->in_taken += n;
    if (x->in == H1_IN_COUNTED) {
        x->in_left -= n;
        if (x->in_left == 0) {
            h1_in_ended(x);
        }
    } else if (x->in == H1_IN_CHUNKED) {
        h1_chunk_skip(&x->chunk, n);
    }
}

void h1_body_skip(struct h1_exchange *x, size_t n)
{
    use_up(x, n);
    count_in(x, n);
}

/* Nothing of ours is in between: the transport writes into the reader's memory. */
static bool is_direct(const struct h1_exchange *x)
{
    return x->conn->in.len == 0 &&
           (x->in == H1_IN_TO_CLOSE || (x->in == H1_IN_COUNTED && x->in_left > 0));
}

static ssize_t read_direct(struct h1_exchange *x, void *into, size_t room)
{
    uint64_t most = MIN_OF(left_of(x), x->conn->limits.body_bytes - x->in_taken);
    ssize_t n = most > 0 ? stream_read(x->conn->below, into, (size_t)MIN_OF((uint64_t)room, most))
                         : too_large(x);

    if (n == 0) {
        n = ended_below(x);
    }
    if (n > 0) {
        count_in(x, (size_t)n);
    }
    return judged(x, n);
}

ssize_t h1_body_read(struct h1_exchange *x, void *into, size_t room)
{
    struct iovec v;

    if (x->in_failure < 0) {
        return x->in_failure;
    }
    if (is_direct(x)) {
        return read_direct(x, into, room);
    }
    int n = h1_body_peek(x, &v, 1);
    if (n <= 0) {
        return n;
    }
    size_t take = MIN_OF(room, v.iov_len);
    memcpy(into, v.iov_base, take);
    h1_body_skip(x, take);
    return (ssize_t)take;
}
