/* SPDX-License-Identifier: Apache-2.0 */
#include "ztunnel/plaintext.h"

#include "base/mem.h"
#include "io/sock.h"
#include "io/tcp_stream.h"
#include "ztunnel/inbound.h"
#include "ztunnel/stats.h"

struct plaintext {
    struct inbound_conn in;
    struct stream *client; /* NULL once accepted or refused */
};

static struct plaintext *of(struct inbound_conn *i)
{
    return container_of(i, struct plaintext, in);
}

static bool is_illegal(const struct config *c, uint16_t port)
{
    for (unsigned i = 0; i < c->illegal_count; i++) {
        if (c->illegal_ports[i] == port) {
            return true;
        }
    }
    return false;
}

static void plain_plan(struct inbound_conn *i, struct inbound_plan *out)
{
    *out = (struct inbound_plan){
        .status = 200, .rbac_dst = i->door, .connect = i->door, .keep_source = true};
    if (is_illegal(i->pod->plane->config, i->door.port)) {
        out->status = 503;
        out->detail = "recursive call";
    }
}

static struct stream *plain_accept(struct inbound_conn *i)
{
    struct stream *s = of(i)->client;

    of(i)->client = NULL;
    return s;
}

static void plain_refuse(struct inbound_conn *i, unsigned status)
{
    (void)status; /* there is nobody to tell but by closing */
    stream_close(of(i)->client, -ERR_DENIED);
    of(i)->client = NULL;
}

static void plain_free(struct inbound_conn *i)
{
    stats_sockets(i->pod->plane->shard, false, -1);
    stream_close(of(i)->client, -ERR_CANCELLED);
    mem_free(of(i));
}

static const struct inbound_front plain_front = {
    .protocol = "TCP",
    .plan = plain_plan,
    .accept = plain_accept,
    .refuse = plain_refuse,
    .free = plain_free,
};

void plaintext_open(struct pod *p, int take_fd, const struct endpoint *peer)
{
    struct plaintext *x = mem_new(struct plaintext);

    (void)sock_set_nodelay(take_fd); /* a socket without it still works */
    x->in.client = *peer;
    x->in.trust_source_ip = true;
    if (sock_original_destination(take_fd, &x->in.door) < 0) {
        sock_close(&take_fd);
        mem_free(x);
        return;
    }
    stats_sockets(p->plane->shard, false, 1);
    x->client = tcp_stream_new(p->plane->loop, take_fd);
    inbound_start(&x->in, p, &plain_front);
}
