/* SPDX-License-Identifier: Apache-2.0 */
#include "io/dns_upstream.h"

#include <assert.h>

#include "base/ascii.h"
#include "base/bytes.h"
#include "base/mem.h"
#include "base/num.h"
#include "base/rand.h"
#include "io/tcp_stream.h"
#include "io/udp.h"

/* RFC 1035 4.1.1 */
enum { HEADER_BYTES = 12, TYPE_AND_CLASS_BYTES = 4, LABEL_MAX = 63 };
enum { FLAG_RESPONSE = 0x80, FLAG_TRUNCATED = 0x02, RCODE_MASK = 0x0f };
enum { RCODE_SERVFAIL = 2, RCODE_REFUSED = 5 };
enum { STEPS_A_CALL = 64 }; /* strangers may send faster than we read */
enum { DEFAULT_TRIES = 3, DEFAULT_SENDS = 3, DEFAULT_TRY_MS = 5000, DEFAULT_FLYING = 1024 };

struct dns_upstream {
    struct loop *loop;
    struct sock_factory *factory;
    struct dns_upstream_options o; /* servers points below */
    struct endpoint servers[DNS_UPSTREAM_SERVERS_MAX];
    unsigned flying;
    struct dns_upstream_stats stats;
};

enum dns_step {
    DNS_ASKING,   /* a factory makes the socket */
    DNS_WAITING,  /* sent; a datagram is awaited */
    DNS_WRITING,  /* TCP: connecting, or the query goes out */
    DNS_READING,  /* TCP: the answer comes in */
    DNS_ANSWERED, /* answer is set */
    DNS_FAILED    /* failure is set */
};

struct dns_query {
    struct dns_upstream *up;
    struct dns_source *source;
    struct netns *where; /* NULL: own */
    struct task *owner;
    struct timer timer; /* armed in every waiting step */
    struct sock_ask *ask;
    struct udp_sock *udp;
    struct stream *tcp;
    struct bytes frame; /* TCP: what is still to be written, then what was read */
    uint8_t *packet;    /* the query, with the id that went out; NULL when it was refused */
    size_t len;
    size_t question_end; /* offset */
    uint16_t client_id;
    unsigned server;
    unsigned tried;
    unsigned sent; /* datagrams of this try */
    uint8_t *answer;
    size_t answer_len;
    enum dns_step step;
    int failure;
    struct diag why;
};

static void enter(struct dns_query *q, enum dns_step next, uint64_t limit_ms)
{
    q->step = next;
    timer_clear(&q->timer);
    if (limit_ms > 0) {
        timer_set(&q->timer, q->owner, limit_ms);
    }
}

struct dns_upstream *dns_upstream_new(struct loop *l, struct sock_factory *f,
                                      const struct dns_upstream_options *o, struct diag *why)
{
    if (o->server_count == 0) {
        (void)FAIL(why, -EINVAL, "forward DNS without a name server");
        return NULL;
    }
    struct dns_upstream *u = mem_new(struct dns_upstream);
    u->loop = l;
    u->factory = f;
    u->o = *o;
    u->o.server_count = MIN_OF(o->server_count, (unsigned)DNS_UPSTREAM_SERVERS_MAX);
    memcpy(u->servers, o->servers, u->o.server_count * sizeof(struct endpoint));
    u->o.servers = u->servers;
    u->o.tries = o->tries > 0 ? o->tries : DEFAULT_TRIES;
    u->o.sends = o->sends > 0 ? o->sends : DEFAULT_SENDS;
    u->o.try_ms = o->try_ms > 0 ? o->try_ms : DEFAULT_TRY_MS;
    u->o.flying_max = o->flying_max > 0 ? o->flying_max : DEFAULT_FLYING;
    return u;
}

void dns_upstream_free(struct dns_upstream *u)
{
    assert(!u || u->flying == 0);
    mem_free(u);
}

struct dns_upstream_stats dns_upstream_stats(const struct dns_upstream *u)
{
    return u->stats;
}

/* Where the one question ends; 0 unless it is a query with exactly one. */
static size_t find_question_end(const uint8_t *p, size_t len)
{
    size_t at = HEADER_BYTES;

    if (len < HEADER_BYTES || (p[2] & FLAG_RESPONSE) || be16_get(p + 4) != 1) {
        return 0;
    }
    while (at < len && p[at] != 0) {
        if (p[at] > LABEL_MAX) {
            return 0; /* compression makes no sense in the first name of a packet */
        }
        at += 1u + p[at];
    }
    at += 1 + TYPE_AND_CLASS_BYTES;
    return at <= len ? at : 0;
}

/* Names compare without case (RFC 1035 2.3.3); folding the lengths and types too does no harm: they
 * were ours, and a stranger gains nothing. */
static bool same_question(const struct dns_query *q, const uint8_t *p)
{
    for (size_t i = HEADER_BYTES; i < q->question_end; i++) {
        if (ascii_lower((char)p[i]) != ascii_lower((char)q->packet[i])) {
            return false;
        }
    }
    return true;
}

static bool is_answer(const struct dns_query *q, const uint8_t *p, size_t len)
{
    return len >= q->question_end && be16_get(p) == be16_get(q->packet) && (p[2] & FLAG_RESPONSE) &&
           be16_get(p + 4) == 1 && same_question(q, p);
}

/* What a try leaves behind. */
static void let_go(struct dns_query *q)
{
    sock_ask_free(MOVE(q->ask));
    udp_close(MOVE(q->udp));
    stream_close(MOVE(q->tcp), 0);
    bytes_fini(&q->frame);
}

static const struct endpoint *server_of(const struct dns_query *q)
{
    return &q->up->servers[q->server];
}

static void ask_socket(struct dns_query *q, enum sock_role role)
{
    struct sock_spec spec = {.role = role, .mark = q->up->o.mark};

    spec.family = (enum ip_family)server_of(q)->ip.family;
    q->ask = sock_ask_new(q->up->factory, q->where, &spec, q->owner);
}

static void begin_try(struct dns_query *q)
{
    be16_put(q->packet, (uint16_t)rand_u64());
    q->sent = 0;
    q->up->stats.tries++;
    ask_socket(q, SOCK_ROLE_DATAGRAM);
    enter(q, DNS_ASKING, q->up->o.try_ms);
}

static void take_off(struct dns_query *q)
{
    q->up->flying++;
    q->source->flying++;
}

static void land(struct dns_query *q)
{
    q->up->flying--;
    q->source->flying--;
}

static bool has_room(const struct dns_upstream *u, const struct dns_source *source)
{
    return u->flying < u->o.flying_max ||
           (source->flying < DNS_SOURCE_FEW && u->flying < 2 * u->o.flying_max);
}

static int finish(struct dns_query *q, enum dns_step step, int failure)
{
    let_go(q);
    enter(q, step, 0);
    q->failure = failure;
    land(q);
    return failure;
}

/* This try came to nothing: on to the next, or the end. */
static int next_try(struct dns_query *q, int r)
{
    char server[ENDPOINT_TEXT];

    if (++q->tried >= q->up->o.tries) {
        (void)diag_note(&q->why, r, "ask name server %s: %s", endpoint_format(server_of(q), server),
                        err_text(r));
        return finish(q, DNS_FAILED, r);
    }
    let_go(q);
    q->server = (q->server + 1) % q->up->o.server_count;
    begin_try(q);
    return 0;
}

static int accept_answer(struct dns_query *q, const uint8_t *p, size_t len)
{
    q->answer = mem_try(len, DNS_ANSWER_MAX);
    if (!q->answer) {
        return next_try(q, -ENOMEM);
    }
    q->source->best_server = q->server;
    memcpy(q->answer, p, len);
    be16_put(q->answer, q->client_id);
    q->answer_len = len;
    return finish(q, DNS_ANSWERED, 0);
}

/* A server that cannot is asked again, or another one is; the last word is passed on as it is. */
static bool is_worth_another(const struct dns_query *q, const uint8_t *p)
{
    unsigned rcode = p[3] & RCODE_MASK;

    return (rcode == RCODE_SERVFAIL || rcode == RCODE_REFUSED) && q->tried + 1 < q->up->o.tries;
}

static int begin_stream(struct dns_query *q)
{
    uint8_t prefix[2];

    let_go(q);
    q->up->stats.streams++;
    be16_put(prefix, (uint16_t)q->len);
    bytes_init(&q->frame, DNS_ANSWER_MAX + sizeof(prefix));
    int r = bytes_add(&q->frame, prefix, sizeof(prefix));
    r = r < 0 ? r : bytes_add(&q->frame, q->packet, q->len);
    if (r < 0) {
        return next_try(q, r);
    }
    ask_socket(q, SOCK_ROLE_CONNECT);
    q->tcp = tcp_stream_dial(q->up->loop, MOVE(q->ask), server_of(q), q->up->o.try_ms);
    stream_own(q->tcp, q->owner);
    enter(q, DNS_WRITING, q->up->o.try_ms);
    return 0;
}

static int send_datagram(struct dns_query *q)
{
    struct udp_meta to = {.peer = *server_of(q)};
    int r = udp_send(q->udp, q->packet, q->len, &to);

    q->sent++;
    enter(q, DNS_WAITING, q->up->o.try_ms / q->up->o.sends);
    return r == -EAGAIN ? 0 : r; /* no room now: the next one will do */
}

static int step_asking(struct dns_query *q)
{
    int fd = sock_ask_take(q->ask, NULL);

    if (fd == -EAGAIN) {
        return timer_is_due(&q->timer) ? next_try(q, -ERR_DEADLINE) : fd;
    }
    sock_ask_free(MOVE(q->ask));
    if (fd < 0) {
        return next_try(q, fd);
    }
    int r = sock_connect_datagram(fd, server_of(q), NULL);
    if (r < 0) {
        sock_close(&fd);
        return next_try(q, r);
    }
    q->udp = udp_new(q->up->loop, fd, q->owner, &q->why);
    r = q->udp ? send_datagram(q) : q->why.code;
    return r < 0 ? next_try(q, r) : 0;
}

/* No datagram yet. */
static int wait_longer(struct dns_query *q)
{
    if (!timer_is_due(&q->timer)) {
        return -EAGAIN;
    }
    if (q->sent >= q->up->o.sends) {
        return next_try(q, -ERR_DEADLINE);
    }
    int r = send_datagram(q);
    return r < 0 ? next_try(q, r) : 0;
}

static int step_waiting(struct dns_query *q)
{
    struct udp_meta from;
    uint8_t *p = loop_scratch(q->up->loop);
    ssize_t n = udp_receive(q->udp, p, DNS_ANSWER_MAX, &from);

    if (n == -EAGAIN) {
        return wait_longer(q);
    }
    if (n < 0) {
        return next_try(q, (int)n);
    }
    if (!is_answer(q, p, (size_t)n)) {
        q->up->stats.strangers++;
        return 0;
    }
    if (is_worth_another(q, p)) {
        return next_try(q, -ERR_UNAVAILABLE);
    }
    return p[2] & FLAG_TRUNCATED ? begin_stream(q) : accept_answer(q, p, (size_t)n);
}

/* A stream's answer, with the deadline of the try. */
static int stream_result(struct dns_query *q, ssize_t r)
{
    if (r == -EAGAIN) {
        return timer_is_due(&q->timer) ? next_try(q, -ERR_DEADLINE) : -EAGAIN;
    }
    return next_try(q, r == 0 ? -ERR_TRUNCATED : (int)r);
}

static int step_writing(struct dns_query *q)
{
    ssize_t n = stream_write(q->tcp, bytes_peek(&q->frame), q->frame.len);

    if (n <= 0) {
        return stream_result(q, n);
    }
    bytes_skip(&q->frame, (size_t)n);
    if (q->frame.len == 0) {
        q->step = DNS_READING; /* under the same deadline */
    }
    return 0;
}

/* How much is still missing: of the length, then of the answer. */
static size_t frame_missing(const struct bytes *b)
{
    const uint8_t *p = bytes_peek(b);
    size_t want = b->len < 2 ? 2 : 2u + be16_get(p);

    return want - b->len;
}

static int frame_done(struct dns_query *q)
{
    const uint8_t *p = bytes_peek(&q->frame) + 2;
    size_t len = q->frame.len - 2;

    if (!is_answer(q, p, len)) {
        return next_try(q, -ERR_SYNTAX);
    }
    return is_worth_another(q, p) ? next_try(q, -ERR_UNAVAILABLE) : accept_answer(q, p, len);
}

static int step_reading(struct dns_query *q)
{
    size_t missing = frame_missing(&q->frame);

    if (missing == 0) {
        return frame_done(q);
    }
    uint8_t *to = bytes_reserve(&q->frame, missing);
    if (!to) {
        return next_try(q, -ENOMEM);
    }
    ssize_t n = stream_read(q->tcp, to, missing);
    if (n <= 0) {
        return stream_result(q, n);
    }
    bytes_commit(&q->frame, (size_t)n);
    return 0;
}

static int step(struct dns_query *q)
{
    switch (q->step) {
    case DNS_ASKING:
        return step_asking(q);
    case DNS_WAITING:
        return step_waiting(q);
    case DNS_WRITING:
        return step_writing(q);
    case DNS_READING:
        return step_reading(q);
    case DNS_ANSWERED:
    case DNS_FAILED:
        break;
    }
    return q->failure;
}

static void refuse(struct dns_query *q, int r, const char *what)
{
    q->up->stats.refused++;
    q->step = DNS_FAILED;
    q->failure = FAIL(&q->why, r, "forward a DNS query: %s", what);
}

struct dns_query *dns_query_new(struct dns_upstream *u, struct netns *where,
                                struct dns_source *source, const uint8_t *packet, size_t len,
                                struct task *owner)
{
    struct dns_query *q = mem_new(struct dns_query);

    q->up = u;
    q->source = source;
    q->owner = owner;
    task_wake(owner, WAKE_START);
    q->question_end = find_question_end(packet, len);
    if (q->question_end == 0 || len > DNS_QUERY_MAX) {
        refuse(q, -ERR_SYNTAX, "not one question");
        return q;
    }
    q->packet = has_room(u, source) ? mem_try(len, DNS_QUERY_MAX) : NULL;
    if (!q->packet) {
        refuse(q, -ERR_LIMIT, "too many under way");
        return q;
    }
    memcpy(q->packet, packet, len);
    q->len = len;
    q->client_id = be16_get(packet);
    q->where = where ? netns_ref(where) : NULL;
    q->server = source->best_server;
    take_off(q);
    begin_try(q);
    return q;
}

void dns_query_free(struct dns_query *q)
{
    if (!q) {
        return;
    }
    if (q->step != DNS_ANSWERED && q->step != DNS_FAILED) {
        land(q);
    }
    let_go(q);
    timer_clear(&q->timer);
    (void)netns_unref(q->where); /* its answer is always NULL */
    mem_free(q->packet);
    mem_free(q->answer);
    mem_free(q);
}

int dns_query_answer(struct dns_query *q, const uint8_t **out, size_t *out_len, struct diag *why)
{
    int r = q->step == DNS_FAILED ? q->failure : 0;

    for (int n = 0; r == 0 && q->step != DNS_ANSWERED; n++) {
        r = n < STEPS_A_CALL ? step(q) : -EAGAIN;
        if (n == STEPS_A_CALL) {
            task_wake(q->owner, WAKE_IO);
        }
    }
    if (r == 0) {
        *out = q->answer;
        *out_len = q->answer_len;
    } else if (r != -EAGAIN) {
        (void)diag_note(why, q->why.code, "%s", q->why.text);
    }
    return r;
}
