/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An open TLS stream as bytes. Version 1, integers big-endian, each field as length (4) and bytes:
 *     "TS" version end | record state | plaintext not yet read | sealed bytes not yet opened |
 *     sealed bytes not yet sent | identity | subject | serial | ALPN | not_after (8)
 * An empty text stands for an absent one.
 */
#include <string.h>

#include "base/mem.h"
#include "base/num.h"
#include "base/str.h"
#include "tls/tls_stream_int.h"

enum { VERSION = 1, HEAD_BYTES = 4, FIELD_MAX = 2 * TLS_IN_BYTES };

/* --- out --- */

static int put_field(struct bytes *out, const void *p, size_t len)
{
    uint8_t head[4];

    be32_put(head, (uint32_t)len);
    int r = bytes_add(out, head, sizeof(head));
    return r == 0 && len > 0 ? bytes_add(out, p, len) : r;
}

static int put_text(struct bytes *out, const char *s)
{
    return put_field(out, s, s ? strlen(s) : 0);
}

static int put_record(struct bytes *out, const struct record *r)
{
    uint8_t head[4];

    be32_put(head, RECORD_BLOB_BYTES);
    int e = bytes_add(out, head, sizeof(head));
    return e < 0 ? e : record_export(r, out, NULL);
}

static int put_buffers(struct bytes *out, const struct tls_stream *t)
{
    const struct tls_kept *k = t->kept;
    const struct tls_wire *w = t->wire;
    size_t at = k ? k->plain_at : 0;
    size_t plain_end = k ? k->plain_end : 0;

    int r = put_field(out, k ? k->data + at : NULL, plain_end - at);
    if (r == 0) {
        r = put_field(out, k ? k->data + plain_end : NULL, k ? k->end - plain_end : 0);
    }
    return r < 0 ? r : put_field(out, w ? w->data + w->at : NULL, w ? w->end - w->at : 0);
}

static int put_peer(struct bytes *out, const struct tls_peer *p)
{
    const char *texts[] = {p->identity, p->subject, p->serial_hex, p->alpn};
    uint8_t not_after[8];
    int r = 0;

    for (unsigned i = 0; r == 0 && i < ARRAY_LEN(texts); i++) {
        r = put_text(out, texts[i]);
    }
    be64_put(not_after, (uint64_t)p->not_after_s);
    return r < 0 ? r : put_field(out, not_after, sizeof(not_after));
}

int tls_stream_export(struct stream *s, struct bytes *out, struct stream **out_below)
{
    struct tls_stream *t = container_of(s, struct tls_stream, s);
    const uint8_t head[HEAD_BYTES] = {'T', 'S', VERSION, (uint8_t)t->end};

    int r = tls_ready(t, t->in_error ? t->in_error : t->out_error);
    if (r == 0) {
        r = tls_in_evict(t);
    }
    if (r == 0) {
        r = tls_out_evict(t);
    }
    if (r == 0) {
        r = bytes_add(out, head, sizeof(head));
    }
    if (r == 0) {
        r = put_record(out, t->record);
    }
    if (r == 0) {
        r = put_buffers(out, t);
    }
    if (r == 0) {
        r = put_peer(out, &t->peer);
    }
    if (r < 0) {
        return r;
    }
    *out_below = MOVE(t->below);
    stream_own(*out_below, NULL);
    tls_stream_free(t);
    return 0;
}

/* --- in --- */

static bool get_field(struct slice *rest, struct slice *out)
{
    if (rest->len < 4) {
        return false;
    }
    size_t len = be32_get((const uint8_t *)rest->p);
    if (len > rest->len - 4 || len > FIELD_MAX) {
        return false;
    }
    *out = (struct slice){rest->p + 4, len};
    rest->p += 4 + len;
    rest->len -= 4 + len;
    return true;
}

static char *text_of(struct slice s)
{
    return s.len > 0 ? mem_dup(s.p, s.len) : NULL;
}

struct handed { /* the fields in order */
    struct slice record, plain, raw, wire, identity, subject, serial, alpn, not_after;
};

static bool get_fields(struct slice rest, struct handed *h)
{
    struct slice *all[] = {&h->record,  &h->plain,  &h->raw,  &h->wire,     &h->identity,
                           &h->subject, &h->serial, &h->alpn, &h->not_after};

    for (unsigned i = 0; i < ARRAY_LEN(all); i++) {
        if (!get_field(&rest, all[i])) {
            return false;
        }
    }
    return rest.len == 0 && h->not_after.len == 8 && h->raw.len <= TLS_IN_BYTES &&
           h->alpn.len < sizeof(((struct tls_peer *)NULL)->alpn) && h->wire.len <= TLS_OUT_BYTES;
}

static void set_peer(struct tls_stream *t, const struct handed *h)
{
    t->peer.identity = text_of(h->identity);
    t->peer.subject = text_of(h->subject);
    t->peer.serial_hex = text_of(h->serial);
    t->peer.not_after_s = (int64_t)be64_get((const uint8_t *)h->not_after.p);
    t->peer.suite = record_suite(t->record);
    memcpy(t->peer.alpn, h->alpn.p, h->alpn.len);
}

static int restore(struct tls_stream *t, const struct handed *h, struct diag *why)
{
    int r = record_import(&t->record, h->record.p, h->record.len, tls_ctx_limits(t->l->ctx),
                          tls_ctx_backend(t->l->ctx), why);

    if (r < 0) {
        return r;
    }
    set_peer(t, h);
    t->in_ended = record_is_closed(t->record);
    r = tls_in_keep(t, h->plain, h->raw);
    if (r == 0) {
        r = tls_out_keep(t, (const uint8_t *)h->wire.p, h->wire.len);
    }
    return r < 0 ? FAIL(why, r, "take over a TLS stream") : 0;
}

static int check_head(const uint8_t *p, size_t len, struct diag *why)
{
    if (len < HEAD_BYTES || p[0] != 'T' || p[1] != 'S' || p[2] == 0) {
        return FAIL(why, -ERR_SYNTAX, "take over a TLS stream: not one");
    }
    if (p[2] > VERSION) {
        return FAIL(why, -ERR_VERSION, "take over a TLS stream of version %u", p[2]);
    }
    return p[3] <= TLS_END_SHUT ? 0 : FAIL(why, -ERR_SYNTAX, "take over a TLS stream: malformed");
}

int tls_stream_import(struct tls_loop *l, struct stream *below, const void *blob, size_t len,
                      struct stream **out, struct diag *why)
{
    struct tls_stream *t = tls_stream_make(l, below);
    const uint8_t *p = blob;
    struct handed h = {0};

    int r = check_head(p, len, why);
    if (r == 0 && !get_fields((struct slice){(const char *)p + HEAD_BYTES, len - HEAD_BYTES}, &h)) {
        r = FAIL(why, -ERR_SYNTAX, "take over a TLS stream: malformed");
    }
    if (r == 0) {
        r = restore(t, &h, why);
    }
    if (r < 0) {
        stream_close(t->below, r);
        tls_stream_free(t);
        return r;
    }
    t->end = (enum tls_end)p[3];
    t->step = TLS_OPEN;
    task_wake(&t->task, WAKE_START); /* sends what was not yet sent */
    *out = &t->s;
    return 0;
}
