/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Our HTTP/1.1 client before a server that says anything. The first octet picks the request and
 * whether the server ends the connection. Oracles: however the bytes are cut, the response is the same
 * one or an error both times, and so is whether the connection is kept; what is accepted has no line
 * ends and no fields of the connection in it, and as many octets as it says; written again in plain
 * form it reads the same; everything is released.
 */
#include "http/h1_client.h"

#include <stdlib.h>
#include <string.h>

#include "base/num.h"
#include "caller.h"
#include "codec/h1head.h"
#include "mempipe.h"
#include "wire.h"

enum { BODY_MAX = 1 << 20 };

static void need(bool truth)
{
    if (!truth) {
        abort();
    }
}

struct asked {
    bool head;
    bool websocket;
    bool ends;       /* the server ends the connection */
    uint32_t fields; /* limit on them */
};

struct outcome {
    int result;
    bool kept;
    unsigned status;
    struct strbuf fields; /* as lines, without content-length */
    struct strbuf trailers;
    struct strbuf body;
    bool has_length;
    uint64_t length;
};

static void clear(struct outcome *o)
{
    strbuf_fini(&o->fields);
    strbuf_fini(&o->trailers);
    strbuf_fini(&o->body);
    *o = (struct outcome){.result = 0};
}

static void note_field(struct outcome *o, struct message_field f, struct strbuf *into)
{
    need(h1_is_token(f.name) && h1_is_value(f.value) && !h1_is_hop_field(f.name));
    need(slice_trim(f.value).len == f.value.len);
    if (slice_is(f.name, "content-length")) {
        need(!o->has_length && into == &o->fields);
        need(num_parse_u64(f.value.p, f.value.len, INT64_MAX, &o->length) == 0);
        o->has_length = true;
        return;
    }
    strbuf_add(into, f.name.p, f.name.len);
    strbuf_puts(into, ":");
    strbuf_add(into, f.value.p, f.value.len);
    strbuf_puts(into, "\r\n");
}

static void note(struct outcome *o, struct caller *c)
{
    struct exchange *x = c->x;

    o->result = c->result;
    o->status = x->in.status;
    for (unsigned i = 0; i < x->in.count; i++) {
        note_field(o, message_field(&x->in, i), &o->fields);
    }
    for (unsigned i = 0; i < x->in_trailers.count; i++) {
        need(!h1_is_bad_trailer(message_field(&x->in_trailers, i).name));
        note_field(o, message_field(&x->in_trailers, i), &o->trailers);
    }
    strbuf_add(&o->body, bytes_peek(&c->got), c->got.len);
}

static void play(struct asked q, const char *data, size_t len, size_t piece, struct outcome *out)
{
    AUTO(message) struct message head = {0};
    struct loop *l = loop_new(NULL);
    struct stream *ends[2];
    struct wire server;
    struct caller call;

    loop_stop_clock(l);
    mempipe_pair(ends, 3000, NULL);
    struct h1_client *client =
        h1_client_new(l, ends[1], &(struct h1_limits){.fields = q.fields}, NULL);
    wire_start(&server, l, ends[0], "", 0);
    message_request(&head, q.head ? "HEAD" : "GET", "http", "a", "/");
    if (q.websocket) {
        message_set(&head, MESSAGE_PROTOCOL, slice_of("websocket"));
    }
    caller_start(&call, l, h1_client_request(client, &head, true), NULL, 0);
    need(settle(l));
    server.piece = piece;
    server.shut_after = q.ends;
    wire_send(&server, data, len);
    need(settle(l));
    note(out, &call);
    need(out->result != 0 || !q.ends);
    caller_stop(&call, out->result == 1 ? 0 : -ERR_CANCELLED);
    need(settle(l));
    out->kept = h1_client_state(client) == 0;
    h1_client_free(client);
    need(settle(l));
    wire_stop(&server, 0);
    loop_advance(l, 60000);
    need(settle(l));
    loop_free(l);
    need(mempipe_live() == 0);
}

static bool same(const struct strbuf *a, const struct strbuf *b)
{
    return a->len == b->len && (a->len == 0 || memcmp(a->p, b->p, a->len) == 0);
}

static void need_same(const struct outcome *a, const struct outcome *b)
{
    need(a->status == b->status);
    need(same(&a->fields, &b->fields) && same(&a->trailers, &b->trailers));
    need(same(&a->body, &b->body));
}

static bool has_no_body(struct asked q, unsigned status)
{
    return q.head || status == 204 || status == 304;
}

/* The accepted response in one plain form. */
static void again(struct asked q, const struct outcome *o)
{
    AUTO(strbuf) struct strbuf text = {0};
    struct outcome second = {0};

    strbuf_printf(&text, "HTTP/1.1 %u x\r\n", o->status);
    strbuf_add(&text, o->fields.p, o->fields.len);
    if (o->status == 101) {
        strbuf_puts(&text, "connection: upgrade\r\nupgrade: websocket\r\n\r\n");
        strbuf_add(&text, o->body.p, o->body.len);
    } else if (has_no_body(q, o->status)) {
        need(o->body.len == 0);
        strbuf_puts(&text, "\r\n");
    } else {
        strbuf_puts(&text, "transfer-encoding: chunked\r\n\r\n");
        if (o->body.len > 0) {
            strbuf_printf(&text, "%zx\r\n", o->body.len);
            strbuf_add(&text, o->body.p, o->body.len);
            strbuf_puts(&text, "\r\n");
        }
        strbuf_puts(&text, "0\r\n");
        strbuf_add(&text, o->trailers.p, o->trailers.len);
        strbuf_puts(&text, "\r\n");
    }
    q.fields = H1_FIELDS_MAX; /* the plain form may have one more */
    play(q, text.p, text.len, 0, &second);
    need(second.result == 1);
    need_same(o, &second);
    clear(&second);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct outcome whole = {0};
    struct outcome cut = {0};

    if (len < 2 || len > 8000) {
        return 0;
    }
    struct asked q = {.head = data[0] & 1, .websocket = data[0] & 2, .ends = !(data[0] & 4)};
    q.head = q.head && !q.websocket;
    play(q, (const char *)data + 1, len - 1, 0, &whole);
    play(q, (const char *)data + 1, len - 1, 1 + len % 11, &cut);
    need((whole.result == 1) == (cut.result == 1) && (whole.result == 0) == (cut.result == 0));
    need(whole.kept == cut.kept);
    if (whole.result == 1) {
        need_same(&whole, &cut);
        bool counted = whole.has_length && !has_no_body(q, whole.status) && whole.status != 101;
        need(!counted || whole.length == whole.body.len);
        need(!whole.kept || !q.ends);
        again(q, &whole);
    }
    clear(&whole);
    clear(&cut);
    return 0;
}
