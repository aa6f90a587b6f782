/* SPDX-License-Identifier: Apache-2.0 */
/* Requests that came over HTTP/2, held to what HTTP/1.1 demands: a handler may send them on that way,
 * and two readings of one request must not arise in between. */
#include "base/num.h"
#include "http/h2_int.h"

/* Clients send a cookie in pieces to compress it better; it is one again (RFC 9113 8.2.3). */
static void join_cookies(struct message *m)
{
    AUTO(strbuf) struct strbuf all = {.limit = MESSAGE_BYTES_MAX};
    int at = message_find_next(m, "cookie", 0);
    unsigned count = 0;

    for (; at >= 0; at = message_find_next(m, "cookie", (unsigned)at + 1)) {
        struct slice value = message_field(m, (unsigned)at).value;
        strbuf_puts(&all, count++ > 0 ? "; " : "");
        strbuf_add(&all, value.p, value.len);
    }
    if (count > 1) {
        message_remove(m, "cookie");
        message_add(m, slice_of("cookie"), (struct slice){all.p, all.len});
        m->overflow |= all.overflow;
    }
}

/* The authority is :authority; a Host that says something else is an attempt at something. */
static unsigned settle_authority(struct message *m)
{
    struct slice authority = message_get(m, MESSAGE_AUTHORITY);
    struct slice host = authority;
    int at = message_find_next(m, "host", 0);

    if (at >= 0) {
        host = message_field(m, (unsigned)at).value;
        if ((authority.len > 0 && !slice_equal(host, authority)) ||
            message_find_next(m, "host", (unsigned)at + 1) >= 0) {
            return 400;
        }
        if (authority.len == 0) {
            message_set(m, MESSAGE_AUTHORITY, host);
        }
        message_remove(m, "host");
    }
    return h1_is_host(message_get(m, MESSAGE_AUTHORITY)) ? 0 : 400;
}

static unsigned check_parts(const struct message *m)
{
    struct slice method = message_get(m, MESSAGE_METHOD);
    struct slice scheme = message_get(m, MESSAGE_SCHEME);
    struct slice path = message_get(m, MESSAGE_PATH);
    bool any = slice_is(path, "*") && slice_is(method, "OPTIONS");

    if (!h1_is_token(method) || method.len > H1_METHOD_MAX) {
        return 400;
    }
    if (!slice_is(scheme, "http") && !slice_is(scheme, "https")) {
        return 400;
    }
    return h1_is_target(path) && (path.p[0] == '/' || any) ? 0 : 400;
}

static unsigned check_fields(const struct h2_session *s, struct message *m)
{
    for (unsigned i = 0; i < m->count; i++) {
        struct message_field f = message_field(m, i);
        if (f.value.len > s->o.value_bytes) {
            return 431;
        }
        /* nghttp2 has its own idea of both; what is sent on must pass ours. */
        if (!h1_is_token(f.name) || !h1_is_value(f.value)) {
            return 400;
        }
        bool odd = s->o.names != H1_UNDERSCORE_ALLOW && memchr(f.name.p, '_', f.name.len);
        if (odd && s->o.names == H1_UNDERSCORE_REJECT) {
            return 400;
        }
    }
    return m->count > s->o.fields ? 431 : 0;
}

static void drop_odd_names(const struct h2_session *s, struct message *m)
{
    char name[256];

    for (unsigned i = 0; s->o.names == H1_UNDERSCORE_DROP && i < m->count;) {
        struct slice n = message_field(m, i).name;
        if (!memchr(n.p, '_', n.len)) {
            i++;
        } else if (n.len >= sizeof(name)) {
            m->overflow = true;
            return;
        } else {
            memcpy(name, n.p, n.len);
            name[n.len] = '\0';
            message_remove(m, name);
        }
    }
}

/* Also when the end of the stream comes after the head. */
static bool declares_no_body(const struct message *m)
{
    struct slice length;
    uint64_t bytes;

    return message_find(m, "content-length", &length) &&
           num_parse_u64(length.p, length.len, INT64_MAX, &bytes) == 0 && bytes == 0;
}

/* Of a body that there is not, nothing is held back (as in HTTP/1.1). */
static unsigned settle_expect(struct h2_exchange *x, bool end)
{
    struct message *m = &x->x.in;
    bool waits = !end && !declares_no_body(m);
    struct slice expect;

    if (!message_find(m, "expect", &expect)) {
        return 0;
    }
    if (!slice_is(expect, "100-continue") && !slice_is(expect, "100-Continue")) {
        return 417;
    }
    x->owes_continue = waits;
    x->x.expects_continue = waits;
    if (!waits || !x->session->o.continue_by_owner) {
        message_remove(m, "expect");
    }
    return 0;
}

/* Extended CONNECT reads as the GET that it would be in HTTP/1.1. */
static unsigned settle_method(struct h2_exchange *x, bool end)
{
    struct message *m = &x->x.in;
    struct slice protocol = message_get(m, MESSAGE_PROTOCOL);

    if (message_is_method(m, "TRACE")) {
        return 405;
    }
    if (!message_is_method(m, "CONNECT")) {
        return protocol.len == 0 ? 0 : 400;
    }
    if (protocol.len == 0) {
        return 405;
    }
    if (!slice_is(protocol, "websocket") || end) {
        return 501;
    }
    message_set(m, MESSAGE_METHOD, slice_of("GET"));
    x->upgrade = true;
    return 0;
}

unsigned h2_request_check(struct h2_exchange *x, bool end)
{
    struct message *m = &x->x.in;
    unsigned status = message_is_whole(m) ? check_fields(x->session, m) : 431;

    drop_odd_names(x->session, m);
    status = status > 0 ? status : settle_method(x, end);
    status = status > 0 ? status : check_parts(m);
    status = status > 0 ? status : settle_authority(m);
    status = status > 0 ? status : settle_expect(x, end);
    join_cookies(m);
    return status == 0 && !message_is_whole(m) ? 431 : status;
}

bool h2_may_trail(const struct h2_exchange *x, struct slice name)
{
    bool odd = x->session->o.names != H1_UNDERSCORE_ALLOW && memchr(name.p, '_', name.len);

    return !odd && !h1_is_bad_trailer(name);
}
