/* SPDX-License-Identifier: Apache-2.0 */
/* A query that parses gets an answer that parses as an answer to it; an upstream's answer that
 * is taken can be handed on within any room. Input: length of the query (2 bytes), room (2),
 * query, answer. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "codec/dnsmsg.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void answer_it(const struct dns_request *q, uint8_t *buf, size_t room)
{
    struct dns_reply r;
    struct dns_forwarded up;
    struct ip ip = {.family = IP_V6, .bytes = {1, 2, 3}};
    size_t n;

    if (dns_reply_begin(&r, q, buf, room) < 0) {
        return;
    }
    assert(dns_reply_add_cname(&r, q->name, 30, "target.example.") == 0);
    assert(dns_reply_add_ip(&r, "target.example", 30, &ip) == 0);
    assert(dns_reply_add_ip(&r, q->name, 30, &ip) == 0);
    n = dns_reply_end(&r);
    assert(n <= room);
    assert(dns_forwarded_parse(&up, q, q->id, buf, n) == 0);
    assert(up.count == r.count && up.truncated == r.truncated);
    assert(r.truncated || up.count == 3);
    assert(up.end + (q->edns ? 11 : 0) == n);
}

static void forward_it(const struct dns_request *q, const uint8_t *msg, size_t len, uint8_t *buf,
                       size_t room)
{
    struct dns_reply r;
    struct dns_forwarded up, again;
    uint16_t id = len >= 2 ? (uint16_t)(msg[0] << 8 | msg[1]) : 0;
    size_t n;

    if (dns_forwarded_parse(&up, q, id, msg, len) < 0 || dns_reply_begin(&r, q, buf, room) < 0) {
        return;
    }
    n = dns_reply_forwarded(&r, &up, msg, 7);
    assert(n <= room && dns_forwarded_parse(&again, q, q->id, buf, n) == 0);
    /* A hostile name may point into a TTL, which changes: then there is no answer. */
    if (again.rcode == DNS_SERVFAIL && up.rcode == DNS_NOERROR) {
        assert(again.count == 0);
        return;
    }
    assert(again.rcode == up.rcode);
    assert(up.rcode != DNS_NOERROR || again.truncated || again.count == up.count);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct dns_request q;
    size_t query_len, room;
    uint8_t *buf;

    if (size < 4) {
        return 0;
    }
    query_len = (size_t)data[0] << 8 | data[1];
    room = (size_t)data[2] << 8 | data[3];
    data += 4;
    size -= 4;
    query_len = query_len < size ? query_len : size;
    if (dns_request_parse(&q, data, query_len) < 0) {
        return 0;
    }
    buf = malloc(room > 0 ? room : 1); /* exact, so that one byte too far is seen */
    assert(buf);
    if (dns_request_verdict(&q) == DNS_NOERROR) {
        answer_it(&q, buf, room);
        forward_it(&q, data + query_len, size - query_len, buf, room);
    } else {
        struct dns_reply r;
        if (dns_reply_begin(&r, &q, buf, room) == 0) {
            assert(dns_reply_error(&r, dns_request_verdict(&q)) <= room);
        }
    }
    free(buf);
    return 0;
}
