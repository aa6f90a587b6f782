/* SPDX-License-Identifier: Apache-2.0 */
#include "fake_dns.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/num.h"
#include "io/sock.h"
#include "io/tcp_stream.h"
#include "tcp_pair.h"

struct fake_dns_client { /* one TCP connection */
    struct task task;
    struct fake_dns *server;
    struct stream *s;
    uint8_t in[1024];
    size_t len;
    struct fake_dns_client *next;
};

size_t fake_dns_query(uint8_t *into, uint16_t id, const char *name, uint16_t type)
{
    size_t at = 12;

    memset(into, 0, 12);
    be16_put(into, id);
    into[2] = 1; /* RD */
    be16_put(into + 4, 1);
    while (*name) {
        size_t n = strcspn(name, ".");
        into[at++] = (uint8_t)n;
        memcpy(into + at, name, n);
        at += n;
        name += n + (name[n] == '.');
    }
    into[at++] = 0;
    be16_put(into + at, type);
    be16_put(into + at + 2, 1);
    return at + 4;
}

static size_t question_end(const uint8_t *p)
{
    size_t at = 12;

    while (p[at]) {
        at += 1u + p[at];
    }
    return at + 5;
}

/* The answer to q, into at least 1024 bytes. */
static size_t answer(const struct fake_dns *d, const uint8_t *q, uint8_t *into, uint8_t rcode)
{
    static const uint8_t v6[16] = {0x20, 0x01, 0x0d, 0xb8, [15] = 1};
    static const uint8_t v4[4] = {192, 0, 2, 1};
    size_t end = question_end(q);
    uint16_t type = be16_get(q + end - 4);
    uint16_t len = type == 1 ? 4 : type == 28 ? 16 : 0;
    uint8_t *r = into + end;

    memcpy(into, q, end);
    into[2] |= 0x80;
    into[3] = (uint8_t)(0x80 | rcode);
    be16_put(into + 8, 0);
    be16_put(into + 10, 0);
    if (rcode != 0 || len == 0 || d->way == FAKE_DNS_RCODE) {
        return end;
    }
    be16_put(into + 6, 1);
    be16_put(r, 0xc00c);
    be16_put(r + 2, type);
    be16_put(r + 4, 1);
    be32_put(r + 6, d->ttl_s);
    be16_put(r + 10, len);
    memcpy(r + 12, type == 1 ? v4 : v6, len);
    return end + 12 + len;
}

static void reply(struct fake_dns *d, const uint8_t *a, size_t len, const struct udp_meta *to)
{
    (void)(udp_send(d->udp, a, len, to) == 0); /* loopback: the test notices what is missing */
}

static void serve_datagram(struct fake_dns *d, const uint8_t *q, const struct udp_meta *from)
{
    uint8_t a[1024];
    bool once = d->way == FAKE_DNS_RCODE_ONCE && d->datagrams == 1;
    uint8_t rcode = d->way == FAKE_DNS_RCODE || once ? d->rcode : 0;
    size_t len = answer(d, q, a, rcode);

    switch (d->way) {
    case FAKE_DNS_SILENT:
        return;
    case FAKE_DNS_TRUNCATES:
    case FAKE_DNS_TCP_CUTS:
        a[2] |= 2;
        be16_put(a + 6, 0);
        len = question_end(q);
        break;
    case FAKE_DNS_WRONG_ID:
        a[0] ^= 1;
        reply(d, a, len, from);
        a[0] ^= 1;
        break;
    case FAKE_DNS_WRONG_NAME:
        a[13] ^= 1;
        reply(d, a, len, from);
        a[13] ^= 1;
        break;
    case FAKE_DNS_ANSWERS:
    case FAKE_DNS_RCODE:
    case FAKE_DNS_RCODE_ONCE:
        break;
    }
    reply(d, a, len, from);
}

static void serve_stream(struct fake_dns_client *c, const uint8_t *q)
{
    uint8_t a[1024 + 2];
    size_t len = answer(c->server, q, a + 2, 0);

    be16_put(a, (uint16_t)len);
    c->server->streams++;
    len = c->server->way == FAKE_DNS_TCP_CUTS ? len / 2 : len + 2;
    (void)(stream_write(c->s, a, len) > 0); /* as above */
    if (c->server->way == FAKE_DNS_TCP_CUTS) {
        stream_close(c->s, 0);
        c->s = NULL;
    }
}

static void client_run(struct task *t, unsigned why)
{
    struct fake_dns_client *c = container_of(t, struct fake_dns_client, task);

    (void)why;
    while (c->s && c->len < sizeof(c->in)) {
        ssize_t n = stream_read(c->s, c->in + c->len, sizeof(c->in) - c->len);
        if (n <= 0) {
            return;
        }
        c->len += (size_t)n;
        if (c->len >= 2 && c->len >= 2u + be16_get(c->in)) {
            serve_stream(c, c->in + 2);
            c->len = 0;
        }
    }
}

static void server_run(struct task *t, unsigned why)
{
    struct fake_dns *d = container_of(t, struct fake_dns, task);
    struct udp_meta from;
    struct endpoint peer;
    ssize_t n;
    int fd;

    (void)why;
    while ((n = udp_receive(d->udp, d->last, sizeof(d->last), &from)) >= 12) {
        d->datagrams++;
        d->last_len = (size_t)n;
        serve_datagram(d, d->last, &from);
    }
    while ((fd = listener_accept(d->tcp, &peer)) >= 0) {
        struct fake_dns_client *c = mem_new(struct fake_dns_client);
        c->server = d;
        c->next = d->clients;
        d->clients = c;
        task_init(&c->task, d->loop, "dns client", client_run);
        c->s = tcp_stream_new(d->loop, fd);
        stream_own(c->s, &c->task);
        task_wake(&c->task, WAKE_START);
    }
}

void fake_dns_start(struct fake_dns *d, struct loop *l, enum fake_dns_way way)
{
    int tcp = -1;
    int udp = -1;

    *d = (struct fake_dns){.loop = l, .way = way, .ttl_s = 77};
    task_init(&d->task, l, "dns server", server_run);
    do { /* a port that is free for TCP may be somebody's for UDP */
        sock_close(&tcp);
        sock_close(&udp);
        tcp = tcp_test_listener(IP_V4, &d->at);
        udp = sock_open(IP_V4, SOCK_TYPE_DATAGRAM, NULL);
    } while (sock_bind(udp, &d->at, NULL) == -EADDRINUSE);
    d->tcp = listener_new(l, tcp, &d->task, NULL);
    d->udp = udp_new(l, udp, &d->task, NULL);
}

void fake_dns_stop(struct fake_dns *d)
{
    while (d->clients) {
        struct fake_dns_client *c = d->clients;
        d->clients = c->next;
        task_fini(&c->task);
        stream_close(c->s, 0);
        mem_free(c);
    }
    udp_close(d->udp);
    listener_close(d->tcp);
    task_fini(&d->task);
}
