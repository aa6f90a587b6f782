/* SPDX-License-Identifier: Apache-2.0 */
#include "hbone/server.h"

#include "base/mem.h"
#include "hbone/server_int.h"
#include "hbone/tunnel_wire_int.h"

/* Streams opened and reset before anybody looked at them; the next one ends the tunnel (contract 2.3
 * as recorded). */
enum { RESETS_MAX = 20 };

struct hbone_request {
    struct list in_untaken;
    struct channel *channel;
    struct hbone_server *server; /* NULL once taken */
    struct task *owner;
    struct hbone_head head;
    struct bytes text; /* what head points into */
    size_t charged;    /* for it, to the channel's budget */
};

struct hbone_server *server_wrap(struct tunnel *t, struct task *owner)
{
    struct hbone_server *s = mem_new(struct hbone_server);

    list_init(&s->untaken);
    s->owner = owner;
    s->tunnel = t;
    t->server = s;
    tunnel_hold(t, owner, WAKE_IO);
    return s;
}

struct hbone_server *hbone_server_new(struct hbone_loop *l, struct stream *secure,
                                      struct task *owner, struct budget *budget)
{
    return server_wrap(tunnel_new(l, secure, HBONE_SERVER, budget), owner);
}

static void request_free(struct hbone_request *r)
{
    budget_release(r->channel->rx.budget, r->charged);
    bytes_fini(&r->text);
    mem_free(r);
}

bool server_add_request(struct tunnel *t, struct channel *ch, struct headers *headers)
{
    struct hbone_server *s = t->server;

    if (!s || s->closing) {
        return false;
    }
    struct hbone_request *r = mem_new(struct hbone_request);
    r->channel = ch;
    r->server = s;
    r->text = headers->text;
    bytes_init(&headers->text, 0);
    r->charged = r->text.room; /* its answer may take long, and is not the peer's doing */
    budget_charge(ch->rx.budget, r->charged);
    headers_head(headers, &r->text, &r->head);
    ch->request = r;
    list_append(&s->untaken, &r->in_untaken);
    task_wake(s->owner, WAKE_IO);
    return true;
}

bool request_over(struct hbone_request *r)
{
    struct hbone_server *s = r->server;
    struct channel *ch = r->channel;

    if (!s) {
        if (r->owner) {
            task_wake(r->owner, WAKE_IO);
        }
        return false;
    }
    list_remove(&r->in_untaken);
    request_free(r);
    channel_free(ch);
    if (++s->resets > RESETS_MAX) {
        tunnel_abort(s->tunnel, RESET_ENHANCE_YOUR_CALM, -ERR_H2_ABUSE, "too_many_resets");
    }
    return true;
}

int hbone_server_next(struct hbone_server *s, struct hbone_request **out)
{
    struct list *node = list_take_first(&s->untaken);

    if (node) {
        struct hbone_request *r = container_of(node, struct hbone_request, in_untaken);

        r->server = NULL;
        *out = r;
        return 1;
    }
    s->resets = 0;
    return tunnel_is_alive(s->tunnel) ? -EAGAIN : s->tunnel->failure;
}

const struct diag *hbone_server_diag(const struct hbone_server *s)
{
    return &s->tunnel->diag;
}

struct stream *hbone_server_below(const struct hbone_server *s)
{
    return s->tunnel->below;
}

void hbone_server_drain(struct hbone_server *s)
{
    tunnel_start_drain(s->tunnel);
}

static void refuse_untaken(struct hbone_server *s)
{
    struct list *node;

    s->closing = true;
    while ((node = list_take_first(&s->untaken)) != NULL) {
        struct hbone_request *r = container_of(node, struct hbone_request, in_untaken);
        struct channel *ch = r->channel;

        ch->request = NULL;
        request_free(r);
        tunnel_put(s->tunnel, frame_put_reset(&s->tunnel->out, ch->id, RESET_REFUSED_STREAM));
        tunnel_remember(s->tunnel, ch->id);
        channel_detach(ch);
        channel_free(ch);
    }
}

void hbone_server_close(struct hbone_server *s, int why)
{
    struct tunnel *t = s->tunnel;

    refuse_untaken(s);
    if (why < 0) {
        tunnel_kill(t, -ERR_CANCELLED);
    } else {
        tunnel_start_drain(t);
    }
    tunnel_release(t);
    mem_free(s);
}

const struct hbone_head *hbone_request_head(const struct hbone_request *r)
{
    return &r->head;
}

void hbone_request_own(struct hbone_request *r, struct task *owner)
{
    r->owner = owner;
}

/* What is left of a request once it is answered. */
static struct channel *take_channel(struct hbone_request *r)
{
    struct channel *ch = r->channel;

    ch->request = NULL;
    request_free(r);
    return ch;
}

struct stream *hbone_request_accept(struct hbone_request *r, struct slice baggage)
{
    struct channel *ch = take_channel(r);

    if (ch->step == CHANNEL_REQUEST) {
        ch->step = CHANNEL_OPEN;
        tunnel_put_answer(ch->tunnel, ch->id, 200, baggage, false);
    }
    return &ch->s;
}

void hbone_request_refuse(struct hbone_request *r, unsigned status)
{
    struct channel *ch = take_channel(r);
    struct tunnel *t = ch->tunnel;

    if (t) {
        tunnel_put_answer(t, ch->id, status, (struct slice){NULL, 0}, true);
        if (!ch->remote_ended) { /* asks the peer to stop (RFC 9113 8.1) */
            tunnel_put(t, frame_put_reset(&t->out, ch->id, RESET_NO_ERROR));
            tunnel_remember(t, ch->id);
        }
        channel_detach(ch);
    }
    channel_free(ch);
}
