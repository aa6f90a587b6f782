/* SPDX-License-Identifier: Apache-2.0 */
#include "hbone/headers.h"

#include "base/ascii.h"
#include "base/num.h"
#include "codec/authority.h"
#include "codec/h1head.h"
#include "http/hpack.h"

static const struct {
    const char *name;
    enum headers_kind only; /* of a pseudo-header: where it may stand */
} known[HEADER_COUNT] = {
    [HEADER_METHOD] = {":method", HEADERS_REQUEST},
    [HEADER_AUTHORITY] = {":authority", HEADERS_REQUEST},
    [HEADER_SCHEME] = {":scheme", HEADERS_REQUEST},
    [HEADER_PATH] = {":path", HEADERS_REQUEST},
    [HEADER_PROTOCOL] = {":protocol", HEADERS_REQUEST},
    [HEADER_STATUS] = {":status", HEADERS_RESPONSE},
    [HEADER_BAGGAGE] = {"baggage", HEADERS_REQUEST},
    [HEADER_FORWARDED] = {"forwarded", HEADERS_REQUEST},
    [HEADER_TRACEPARENT] = {"traceparent", HEADERS_REQUEST},
    [HEADER_NETWORK] = {"x-forwarded-network", HEADERS_REQUEST},
    [HEADER_HOST] = {"host", HEADERS_REQUEST},
    [HEADER_LENGTH] = {"content-length", HEADERS_REQUEST},
};

enum {
    KEPT = BIT(HEADER_METHOD) | BIT(HEADER_AUTHORITY) | BIT(HEADER_BAGGAGE) |
           BIT(HEADER_FORWARDED) | BIT(HEADER_TRACEPARENT) | BIT(HEADER_NETWORK)
};

void headers_init(struct headers *h, enum headers_kind kind, uint32_t limit_bytes)
{
    *h = (struct headers){.kind = kind, .limit_bytes = limit_bytes, .content_length = -1};
    bytes_init(&h->text, (size_t)limit_bytes * 6); /* a list of baggage may move four times */
}

void headers_fini(struct headers *h)
{
    bytes_fini(&h->text);
}

static enum header header_of(struct slice name)
{
    for (unsigned i = 0; i < HEADER_COUNT; i++) {
        if (slice_is(name, known[i].name)) {
            return (enum header)i;
        }
    }
    return HEADER_OTHER;
}

/* A token without upper case (RFC 9113 8.2.1). */
static bool is_name(struct slice s)
{
    for (size_t i = 0; i < s.len; i++) {
        if (ascii_is_upper(s.p[i])) {
            return false;
        }
    }
    return h1_is_token(s);
}

/* RFC 9113 8.2.1: such a message is malformed. */
static bool has_outer_space(struct slice value)
{
    return slice_trim(value).len < value.len;
}

/* RFC 9113 8.2.2 */
static bool is_of_connection(const struct hpack_field *f)
{
    static const char *const names[] = {"connection", "keep-alive", "proxy-connection",
                                        "transfer-encoding", "upgrade"};

    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (slice_is(f->name, names[i])) {
            return true;
        }
    }
    return slice_is(f->name, "te") && !slice_is(f->value, "trailers");
}

/* Nothing about what it says: 10.0.0.1 without a port is an authority, too. */
static bool is_authority(struct slice s)
{
    struct authority a;

    return authority_parse(&a, s.p, s.len) != -ERR_SYNTAX;
}

static int take_status(struct headers *h, struct slice value)
{
    uint32_t status = 0;

    if (value.len != 3 || num_parse_u32(value.p, value.len, 999, &status) < 0 || status < 100 ||
        status == 101) { /* RFC 9113 8.6 */
        return -ERR_SYNTAX;
    }
    h->status = status;
    return 0;
}

static int take_length(struct headers *h, struct slice value)
{
    uint64_t length = 0;
    int r = num_parse_u64(value.p, value.len, INT64_MAX, &length);

    if (h->content_length >= 0) {
        return -ERR_SYNTAX;
    }
    if (r == 0) {
        h->content_length = (int64_t)length;
    }
    return r;
}

/* What a single field makes of the message: 0 or -ERR_SYNTAX. */
static int judge_pseudo(struct headers *h, enum header id, struct slice value)
{
    if (h->kind == HEADERS_TRAILERS || h->regular || (h->seen & BIT(id)) ||
        known[id].only != h->kind) {
        return -ERR_SYNTAX;
    }
    if (id == HEADER_STATUS) {
        return take_status(h, value);
    }
    bool good = id == HEADER_AUTHORITY ? is_authority(value)
                : id == HEADER_METHOD  ? h1_is_token(value)
                                       : value.len > 0;
    return good ? 0 : -ERR_SYNTAX;
}

static int judge_regular(struct headers *h, enum header id, const struct hpack_field *f)
{
    h->regular = true;
    if (is_of_connection(f) || has_outer_space(f->value)) {
        return -ERR_SYNTAX;
    }
    if (id == HEADER_HOST && ((h->seen & BIT(id)) || !is_authority(f->value))) {
        return -ERR_SYNTAX;
    }
    return id == HEADER_LENGTH ? take_length(h, f->value) : 0;
}

/* What there is of it so far ends the text: it may grow in place. */
static bool is_at_end(const struct headers *h, enum header id)
{
    return (size_t)h->kept[id].at + h->kept[id].len == h->text.len;
}

static const uint8_t *text_at(const struct headers *h, enum header id)
{
    return h->text.p + h->text.head + h->kept[id].at;
}

static int append(struct headers *h, const void *from, size_t len)
{
    return bytes_add(&h->text, from, len) < 0 ? -ENOMEM : 0;
}

/* Starts the value of a field, or continues a list: nothing stands behind it afterwards. */
static int open_value(struct headers *h, enum header id)
{
    uint32_t len = h->seen & BIT(id) ? h->kept[id].len : 0;
    uint32_t end = (uint32_t)h->text.len;
    uint8_t *p = bytes_reserve(&h->text, (size_t)len + 1);

    if (!p) {
        return -ENOMEM;
    }
    if (len > 0 && !is_at_end(h, id)) {
        memcpy(p, text_at(h, id), len);
        bytes_commit(&h->text, len);
        h->kept[id].at = end;
    } else if (len == 0) {
        h->kept[id].at = end;
    }
    h->kept[id].len = len;
    return h->seen & BIT(id) ? append(h, ",", 1) : 0;
}

/* Lines of baggage are one list (contract 2.5); of the other fields the first line counts. */
static int keep(struct headers *h, enum header id, struct slice value)
{
    if (!(KEPT & BIT(id)) || ((h->seen & BIT(id)) && id != HEADER_BAGGAGE)) {
        return 0;
    }
    int r = open_value(h, id);
    if (r == 0 && value.len > 0) {
        r = append(h, value.p, value.len);
    }
    h->kept[id].len = (uint32_t)h->text.len - h->kept[id].at;
    return r;
}

static bool is_over(const struct headers *h)
{
    return h->list_bytes > h->limit_bytes;
}

int headers_add(struct headers *h, const struct hpack_field *f)
{
    bool pseudo = f->name.len > 0 && f->name.p[0] == ':';
    enum header id = header_of(f->name);

    h->list_bytes += f->name.len + f->value.len + HPACK_ENTRY_OVERHEAD;
    if (pseudo ? id == HEADER_OTHER : !is_name(f->name)) {
        return -ERR_H2_PROTOCOL;
    }
    if (!h1_is_value(f->value)) {
        return -ERR_H2_PROTOCOL;
    }
    int r = pseudo ? judge_pseudo(h, id, f->value) : judge_regular(h, id, f);
    if (r < 0) {
        h->malformed = true;
    }
    if (is_over(h) || h->malformed) {
        return 0; /* decoded only for the decoder's sake */
    }
    r = id < HEADER_COUNT ? keep(h, id, f->value) : 0;
    h->seen |= BIT(id);
    return r;
}

static bool has(const struct headers *h, enum header id)
{
    return h->seen & BIT(id);
}

static struct slice kept_slice(const struct headers *h, const struct bytes *text, enum header id)
{
    if (!has(h, id)) {
        return (struct slice){NULL, 0};
    }
    return (struct slice){(const char *)bytes_peek(text) + h->kept[id].at, h->kept[id].len};
}

static bool is_connect(const struct headers *h)
{
    return slice_is(kept_slice(h, &h->text, HEADER_METHOD), "CONNECT");
}

/* RFC 9113 8.3.1 and 8.5; extended CONNECT (RFC 8441) was not offered. */
static bool is_request(const struct headers *h)
{
    if (!has(h, HEADER_METHOD) || has(h, HEADER_PROTOCOL)) {
        return false;
    }
    if (is_connect(h)) {
        return !has(h, HEADER_SCHEME) && !has(h, HEADER_PATH);
    }
    return has(h, HEADER_SCHEME) && has(h, HEADER_PATH);
}

int headers_judge(const struct headers *h)
{
    if (h->malformed) {
        return -ERR_SYNTAX;
    }
    if (is_over(h)) {
        return -ERR_TOO_LARGE;
    }
    switch (h->kind) {
    case HEADERS_REQUEST:
        return is_request(h) ? 0 : -ERR_SYNTAX;
    case HEADERS_RESPONSE:
        return has(h, HEADER_STATUS) ? 0 : -ERR_SYNTAX;
    case HEADERS_TRAILERS:
        break;
    }
    return 0;
}

void headers_head(const struct headers *h, const struct bytes *text, struct hbone_head *out)
{
    *out = (struct hbone_head){
        .method = kept_slice(h, text, HEADER_METHOD),
        .authority = kept_slice(h, text, HEADER_AUTHORITY),
        .baggage = kept_slice(h, text, HEADER_BAGGAGE),
        .forwarded = kept_slice(h, text, HEADER_FORWARDED),
        .traceparent = kept_slice(h, text, HEADER_TRACEPARENT),
        .network = kept_slice(h, text, HEADER_NETWORK),
    };
}

static int put_if(struct bytes *out, int r, const char *name, struct slice value)
{
    return r < 0 || !value.p ? r : hpack_put(out, name, value, false);
}

/* The order is the real proxy's (contract 2.4, 2.11). */
int headers_put_connect(struct bytes *out, const struct hbone_head *head)
{
    int r = hpack_put(out, ":method", slice_of("CONNECT"), false);

    r = r < 0 ? r : hpack_put(out, ":authority", head->authority, true);
    r = put_if(out, r, "baggage", head->baggage);
    r = put_if(out, r, "forwarded", head->forwarded);
    r = put_if(out, r, "traceparent", head->traceparent);
    return put_if(out, r, "x-forwarded-network", head->network);
}

int headers_put_answer(struct bytes *out, unsigned status, struct slice baggage)
{
    return put_if(out, hpack_put_status(out, status), "baggage", baggage);
}
