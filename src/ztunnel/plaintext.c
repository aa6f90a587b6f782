/* SPDX-License-Identifier: Apache-2.0 */
#include "ztunnel/plaintext.h"

#include "base/mem.h"
#include "io/sock.h"
#include "io/tcp_stream.h"
#include "ztunnel/inbound.h"
#include "ztunnel/stats.h"

struct plain_opening {
    struct inbound_opening in;
    struct stream *client; /* NULL once accepted or refused */
};

static struct plain_opening *of(struct inbound_conn *i)
{
    return container_of(i->opening, struct plain_opening, in);
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
        .status = 200, .rbac_dst = i->from->door, .connect = i->from->door, .keep_source = true};
    if (is_illegal(i->pod->plane->config, i->from->door.port)) {
        out->status = 503;
        out->detail = "recursive call";
    }
}

static struct stream *plain_accept(struct inbound_conn *i)
{
    return MOVE(of(i)->client);
}

static void plain_refuse(struct inbound_conn *i, unsigned status)
{
    (void)status; /* there is nobody to tell but by closing */
    stream_close(MOVE(of(i)->client), -ERR_DENIED);
}

static void plain_end(struct inbound_conn *i)
{
    stats_sockets(i->pod->plane->shard, false, -1);
    if (i->opening) {
        stream_close(MOVE(of(i)->client), -ERR_CANCELLED);
    }
}

static const struct inbound_front plain_front = {
    .protocol = "TCP",
    .plan = plain_plan,
    .accept = plain_accept,
    .refuse = plain_refuse,
    .end = plain_end,
};

void plaintext_open(struct pod *p, int take_fd, const struct endpoint *peer)
{
    struct endpoint door;

    (void)sock_set_nodelay(take_fd); /* a socket without it still works */
    if (sock_original_destination(take_fd, &door) < 0) {
        sock_close(&take_fd);
        return;
    }
    struct inbound_conn *i = mem_new(struct inbound_conn);
    struct plain_opening *x = mem_new(struct plain_opening);
    x->client = tcp_stream_new(p->plane->loop, take_fd);
    i->opening = &x->in;
    i->from = inbound_origin_new();
    i->from->client = *peer;
    i->from->door = door;
    i->trust_source_ip = true;
    stats_sockets(p->plane->shard, false, 1);
    inbound_start(i, p, &plain_front);
}
