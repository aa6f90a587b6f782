/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every offset is checked where it is read, and what was checked is what is used: the parser
 * returns positions in the message, never copies of lengths. Writing reserves the EDNS record up
 * front, so that a full answer can always be closed.
 */
#include "codec/dnsmsg.h"

#include <string.h>

#include "base/num.h"
#include "codec/dnsname_int.h"

enum {
    FLAG_QR = 0x8000,
    FLAG_AA = 0x0400,
    FLAG_TC = 0x0200,
    FLAG_RD = 0x0100,
    FLAG_RA = 0x0080,
    FLAG_CD = 0x0010,
    OPCODE_SHIFT = 11,
    CLASS_IN = 1,
    RECORD_FIXED = 10, /* type, class, TTL, length of the data */
    OPT_SIZE = 11,
    OPT_DO = 0x8000
};

/* ---- reading */

struct header {
    uint16_t id, flags, questions, answers, authority, additional;
};

static struct header read_header(const uint8_t *p)
{
    return (struct header){be16_get(p),     be16_get(p + 2), be16_get(p + 4),
                           be16_get(p + 6), be16_get(p + 8), be16_get(p + 10)};
}

struct record {
    size_t name; /* offset */
    uint16_t type;
    uint16_t class_;
    uint32_t ttl_s;
    size_t ttl_at; /* offset */
    size_t end;    /* offset behind it */
};

static int read_record(const uint8_t *msg, size_t len, size_t at, struct record *out)
{
    int fixed = dnsname_skip(msg, len, at);
    size_t data;

    if (fixed < 0 || len - (size_t)fixed < RECORD_FIXED) {
        return -ERR_SYNTAX;
    }
    data = be16_get(msg + fixed + 8);
    if (len - (size_t)fixed - RECORD_FIXED < data) {
        return -ERR_SYNTAX;
    }
    *out = (struct record){.name = at,
                           .type = be16_get(msg + fixed),
                           .class_ = be16_get(msg + fixed + 2),
                           .ttl_s = be32_get(msg + fixed + 4),
                           .ttl_at = (size_t)fixed + 4,
                           .end = (size_t)fixed + RECORD_FIXED + data};
    return 0;
}

/* Offset behind the questions; negative: broken. */
static int skip_questions(const uint8_t *msg, size_t len, unsigned count)
{
    size_t at = DNS_HEADER;

    for (unsigned i = 0; i < count; i++) {
        int end = dnsname_skip(msg, len, at);
        if (end < 0 || len - (size_t)end < 4) {
            return -ERR_SYNTAX;
        }
        at = (size_t)end + 4;
    }
    return (int)at;
}

/* The EDNS record among those that follow the questions, if any. */
static int read_edns(struct dns_request *q, const uint8_t *msg, size_t len, size_t at,
                     unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        struct record r;
        if (read_record(msg, len, at, &r) < 0) {
            return -ERR_SYNTAX;
        }
        if (r.type == DNS_OPT && msg[r.name] == 0) {
            q->edns = true;
            q->edns_payload = r.class_;
            q->edns_version = (uint8_t)(r.ttl_s >> 16);
            q->dnssec_ok = (r.ttl_s & OPT_DO) != 0;
        }
        at = r.end;
    }
    return 0;
}

int dns_request_parse(struct dns_request *out, const uint8_t *msg, size_t len)
{
    struct header h;
    int end;

    if (len < DNS_HEADER || len > DNS_MESSAGE_MAX) {
        return -ERR_SYNTAX;
    }
    h = read_header(msg);
    end = skip_questions(msg, len, h.questions);
    if ((h.flags & FLAG_QR) || end < 0) {
        return -ERR_SYNTAX;
    }
    *out = (struct dns_request){.id = h.id,
                                .opcode = (uint8_t)(h.flags >> OPCODE_SHIFT & 15),
                                .recursion_desired = h.flags & FLAG_RD,
                                .checking_disabled = h.flags & FLAG_CD,
                                .question_count = h.questions,
                                .questions = msg + DNS_HEADER,
                                .questions_len = (size_t)end - DNS_HEADER};
    if (h.questions > 0) {
        int type = dnsname_skip(msg, len, DNS_HEADER);
        out->type = be16_get(msg + type);
        dnsname_text(msg, DNS_HEADER, out->name, sizeof(out->name));
    }
    return read_edns(out, msg, len, (size_t)end, (unsigned)h.answers + h.authority + h.additional);
}

enum dns_rcode dns_request_verdict(const struct dns_request *q)
{
    if (q->opcode != 0) {
        return DNS_NOTIMP;
    }
    return q->question_count == 1 ? DNS_NOERROR : DNS_SERVFAIL;
}

size_t dns_request_udp_max(const struct dns_request *q)
{
    return q->edns ? MAX_OF(q->edns_payload, 512) : DNS_UDP_WITHOUT_EDNS;
}

/* ---- writing */

int dns_reply_begin(struct dns_reply *r, const struct dns_request *q, uint8_t *buf, size_t room)
{
    size_t opt = q->edns ? OPT_SIZE : 0;

    room = MIN_OF(room, DNS_MESSAGE_MAX);
    if (room < DNS_HEADER + q->questions_len + opt) {
        return -ERR_TOO_LARGE;
    }
    *r = (struct dns_reply){
        .q = q, .p = buf, .len = DNS_HEADER + q->questions_len, .room = room - opt};
    memcpy(buf + DNS_HEADER, q->questions, q->questions_len);
    return 0;
}

static void put(struct dns_reply *r, const void *from, size_t len)
{
    memcpy(r->p + r->len, from, len);
    r->len += len;
}

static void put_u16(struct dns_reply *r, uint16_t v)
{
    be16_put(r->p + r->len, v);
    r->len += 2;
}

static void put_u32(struct dns_reply *r, uint32_t v)
{
    be32_put(r->p + r->len, v);
    r->len += 4;
}

/* Where the name `wire` was already written; 0: nowhere. */
static uint16_t find_known(const struct dns_reply *r, const uint8_t *wire)
{
    for (unsigned i = 0; i < r->known; i++) {
        if (dnsname_is(r->p, r->known_at[i], wire)) {
            return r->known_at[i];
        }
    }
    return 0;
}

/* Label by label until the rest is known. There is room for the whole name. */
static void put_name(struct dns_reply *r, const uint8_t *wire)
{
    unsigned known = r->known;

    while (wire[0] != 0) {
        uint16_t before = find_known(r, wire);
        if (before > 0) {
            put_u16(r, (uint16_t)(0xc000 | before));
            r->known = known;
            return;
        }
        if (known < DNS_KNOWN_NAMES && r->len < 0x4000) {
            r->known_at[known++] = (uint16_t)r->len;
        }
        put(r, wire, wire[0] + 1u);
        wire += wire[0] + 1u;
    }
    put(r, wire, 1);
    r->known = known; /* only now: a name that is half written must not be compared with */
}

/* What put_name will write at most: names of the same record are not known yet. */
static size_t name_size(const struct dns_reply *r, const uint8_t *wire)
{
    size_t size = 0;

    while (wire[0] != 0) {
        if (find_known(r, wire) > 0) {
            return size + 2;
        }
        size += wire[0] + 1u;
        wire += wire[0] + 1u;
    }
    return size + 1;
}

/* An address, or a name that is not compressed yet. */
struct data {
    uint16_t type;
    const uint8_t *bytes;
    size_t len;
    const uint8_t *name; /* NULL: bytes and len count */
};

static void put_record(struct dns_reply *r, const uint8_t *owner, uint32_t ttl_s,
                       const struct data *d)
{
    size_t length_at;

    put_name(r, owner);
    put_u16(r, d->type);
    put_u16(r, CLASS_IN);
    put_u32(r, ttl_s);
    length_at = r->len;
    put_u16(r, 0);
    if (d->name) {
        put_name(r, d->name);
    } else {
        put(r, d->bytes, d->len);
    }
    be16_put(r->p + length_at, (uint16_t)(r->len - length_at - 2));
    r->count++;
}

/* Once one was left out, so is all that follows: a client must not see a gap. */
static int add_record(struct dns_reply *r, const char *owner, uint32_t ttl_s, const struct data *d)
{
    uint8_t wire[DNSNAME_WIRE];
    size_t size;

    if (dnsname_wire(owner, wire) < 0) {
        return -ERR_SYNTAX;
    }
    size = name_size(r, wire) + RECORD_FIXED + (d->name ? name_size(r, d->name) : d->len);
    if (r->truncated || size > r->room - r->len || r->count == UINT16_MAX) {
        r->truncated = true;
        return 0;
    }
    put_record(r, wire, ttl_s, d);
    return 0;
}

int dns_reply_add_ip(struct dns_reply *r, const char *owner, uint32_t ttl_s, const struct ip *ip)
{
    struct data d = {
        .type = ip->family == IP_V4 ? DNS_A : DNS_AAAA, .bytes = ip->bytes, .len = ip_size(ip)};

    return add_record(r, owner, ttl_s, &d);
}

int dns_reply_add_cname(struct dns_reply *r, const char *owner, uint32_t ttl_s, const char *target)
{
    uint8_t wire[DNSNAME_WIRE];
    struct data d = {.type = DNS_CNAME, .name = wire};

    if (dnsname_wire(target, wire) < 0) {
        return -ERR_SYNTAX;
    }
    return add_record(r, owner, ttl_s, &d);
}

/* The flags that every answer has in common, and the counts. */
static void put_header(const struct dns_reply *r, unsigned flags, unsigned additional)
{
    const struct dns_request *q = r->q;
    unsigned common = FLAG_QR | (unsigned)q->opcode << OPCODE_SHIFT |
                      (q->recursion_desired ? FLAG_RD : 0) | (q->checking_disabled ? FLAG_CD : 0) |
                      (r->truncated ? FLAG_TC : 0);

    be16_put(r->p, q->id);
    be16_put(r->p + 2, (uint16_t)(common | flags));
    be16_put(r->p + 4, q->question_count);
    be16_put(r->p + 6, r->count);
    be16_put(r->p + 8, 0);
    be16_put(r->p + 10, (uint16_t)additional);
}

/* Payload at least 512; version and DO as asked; options dropped (contract 8.1, vectors). */
static void put_opt(struct dns_reply *r)
{
    const struct dns_request *q = r->q;

    put(r, "", 1);
    put_u16(r, DNS_OPT);
    put_u16(r, (uint16_t)MAX_OF(q->edns_payload, 512));
    put_u32(r, (uint32_t)q->edns_version << 16 | (q->dnssec_ok ? OPT_DO : 0));
    put_u16(r, 0);
}

static size_t end(struct dns_reply *r, unsigned flags)
{
    put_header(r, flags, r->q->edns);
    if (r->q->edns) {
        put_opt(r);
    }
    return r->len;
}

size_t dns_reply_end(struct dns_reply *r)
{
    return end(r, FLAG_AA | FLAG_RA);
}

static size_t bare(struct dns_reply *r, enum dns_rcode rcode)
{
    r->len = DNS_HEADER + r->q->questions_len;
    r->count = 0;
    r->truncated = false;
    put_header(r, rcode, 0);
    return r->len;
}

size_t dns_reply_error(struct dns_reply *r, enum dns_rcode rcode)
{
    return bare(r, rcode);
}

/* ---- upstream */

/* The first question's bytes with type and class. */
static size_t question_len(const struct dns_request *q)
{
    const uint8_t *p = q->questions;

    while (p[0] != 0) {
        p += p[0] + 1u;
    }
    return (size_t)(p - q->questions) + 5;
}

int dns_forward_query(const struct dns_request *q, uint16_t id, uint8_t *buf, size_t room)
{
    size_t len;

    if (q->question_count != 1) {
        return -ERR_SYNTAX;
    }
    len = question_len(q);
    if (room < DNS_HEADER + len) {
        return -ERR_TOO_LARGE;
    }
    memset(buf, 0, DNS_HEADER);
    be16_put(buf, id);
    be16_put(buf + 2, FLAG_RD);
    be16_put(buf + 4, 1);
    memcpy(buf + DNS_HEADER, q->questions, len);
    return (int)(DNS_HEADER + len);
}

static bool is_answer_to(const struct dns_request *q, uint16_t id, const uint8_t *msg, size_t len)
{
    struct header h = read_header(msg);
    size_t name_len = question_len(q) - 4;

    return h.id == id && (h.flags & FLAG_QR) && h.questions == 1 &&
           len >= DNS_HEADER + name_len + 4 &&
           dnsname_skip(msg, len, DNS_HEADER) == (int)(DNS_HEADER + name_len) &&
           dnsname_is(msg, DNS_HEADER, q->questions) &&
           memcmp(msg + DNS_HEADER + name_len, q->questions + name_len, 4) == 0;
}

int dns_forwarded_parse(struct dns_forwarded *out, const struct dns_request *q, uint16_t id,
                        const uint8_t *msg, size_t len)
{
    struct header h;
    struct dns_forwarded up;

    if (len < DNS_HEADER || q->question_count != 1 || !is_answer_to(q, id, msg, len)) {
        return -ERR_SYNTAX;
    }
    h = read_header(msg);
    up = (struct dns_forwarded){.rcode = (enum dns_rcode)(h.flags & 15),
                                .truncated = h.flags & FLAG_TC,
                                .answers = DNS_HEADER + question_len(q)};
    up.end = up.answers;
    for (; up.count < h.answers; up.count++) {
        struct record r;
        if (read_record(msg, len, up.end, &r) < 0) {
            return -ERR_SYNTAX;
        }
        up.ttl_s = up.count == 0 ? r.ttl_s : MIN_OF(up.ttl_s, r.ttl_s);
        up.end = r.end;
    }
    *out = up;
    return 0;
}

/* Do all records still read as such? A name that pointed into a TTL may not. */
static bool is_whole(const struct dns_reply *r, size_t at)
{
    struct record rec;

    for (; at < r->len; at = rec.end) {
        if (read_record(r->p, r->len, at, &rec) < 0) {
            return false;
        }
    }
    return true;
}

/* The reply's question is as long as upstream's, so every record lands where it was and the
 * pointers in it still hold. */
size_t dns_reply_forwarded(struct dns_reply *r, const struct dns_forwarded *up, const uint8_t *msg,
                           uint32_t age_s)
{
    struct record rec;

    if (up->count == 0 || up->rcode != DNS_NOERROR) {
        return bare(r, up->rcode);
    }
    for (size_t at = up->answers; at < up->end; at = rec.end) {
        if (read_record(msg, up->end, at, &rec) < 0 || rec.end - at > r->room - r->len) {
            r->truncated = true;
            break;
        }
        put(r, msg + at, rec.end - at);
        be32_put(r->p + rec.ttl_at, rec.ttl_s > age_s ? rec.ttl_s - age_s : 0);
        r->count++;
    }
    return is_whole(r, up->answers) ? end(r, FLAG_RA) : bare(r, DNS_SERVFAIL);
}
