/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DNS messages as the node's DNS proxy needs them (RFC 1035, EDNS of RFC 6891; contract 8): reading
 * a query, writing an answer from addresses, and handing on an upstream's answer. Which name gets
 * which answer is decided elsewhere.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/ip.h"

enum dns_type { DNS_A = 1, DNS_CNAME = 5, DNS_AAAA = 28, DNS_OPT = 41 };
enum dns_rcode {
    DNS_NOERROR = 0,
    DNS_FORMERR = 1,
    DNS_SERVFAIL = 2,
    DNS_NXDOMAIN = 3,
    DNS_NOTIMP = 4,
    DNS_REFUSED = 5
};

enum {
    DNS_HEADER = 12,
    DNS_NAME_TEXT = 1024,        /* 255 bytes, each as \DDD at worst, and the terminator */
    DNS_UDP_WITHOUT_EDNS = 4096, /* bytes of an answer (what the real proxy does: vectors) */
    DNS_MESSAGE_MAX = 65535
};

struct dns_request {
    uint16_t id;
    uint8_t opcode;
    bool recursion_desired;
    bool checking_disabled;
    uint16_t question_count;
    uint16_t type; /* of the first question; the class is not looked at */
    /* The first question's name: lower case, no dot at the end, "" for the root. Bytes other than
     * letters, digits, '-', '_' and '*' are \DDD, so that two names are never one. */
    char name[DNS_NAME_TEXT];
    const uint8_t *questions; /* as asked, into the message */
    size_t questions_len;
    bool edns;
    bool dnssec_ok;
    uint8_t edns_version;
    uint16_t edns_payload;
};

/* -ERR_SYNTAX: nothing to answer to (an answer itself, cut off, not well-formed). */
MUST_USE int dns_request_parse(struct dns_request *out, const uint8_t *msg, size_t len);
/* What must be answered at once: NOTIMP, SERVFAIL unless there is one question, else NOERROR. */
enum dns_rcode dns_request_verdict(const struct dns_request *q);
/* Bytes that an answer over UDP may have. */
size_t dns_request_udp_max(const struct dns_request *q);

/* ---- writing an answer */

enum { DNS_KNOWN_NAMES = 32 };

struct dns_reply {
    /* private */
    const struct dns_request *q;
    uint8_t *p;
    size_t len;
    size_t room;    /* less what the EDNS record will take */
    uint16_t count; /* of answer records */
    bool truncated;
    unsigned known; /* labels written so far, where later names may point to */
    uint16_t known_at[DNS_KNOWN_NAMES];
};

/* room: at least DNS_HEADER and the questions, at most DNS_MESSAGE_MAX; q and buf outlive the
 * reply. */
MUST_USE int dns_reply_begin(struct dns_reply *r, const struct dns_request *q, uint8_t *buf,
                             size_t room);
/* Names are text like dns_request's; a dot at the end is allowed. What no longer fits is left out and
 * sets TC. -ERR_SYNTAX: not a name. */
MUST_USE int dns_reply_add_ip(struct dns_reply *r, const char *owner, uint32_t ttl_s,
                              const struct ip *ip);
MUST_USE int dns_reply_add_cname(struct dns_reply *r, const char *owner, uint32_t ttl_s,
                                 const char *target);
/* An authoritative answer with what was added. Returns its length. */
size_t dns_reply_end(struct dns_reply *r);
/* The whole answer of a failure: no records, RA clear, no EDNS. Returns its length. */
size_t dns_reply_error(struct dns_reply *r, enum dns_rcode rcode);

/* ---- asking upstream */

/* The first question alone, recursion desired, no EDNS. Returns the length; -ERR_TOO_LARGE. */
MUST_USE int dns_forward_query(const struct dns_request *q, uint16_t id, uint8_t *buf, size_t room);

struct dns_forwarded {
    enum dns_rcode rcode;
    uint16_t count; /* of answer records */
    bool truncated; /* ask again over TCP */
    size_t answers; /* offset of the first answer record */
    size_t end;     /* offset behind the last */
    uint32_t ttl_s; /* the smallest; 0 without records */
};

/* -ERR_SYNTAX: not the answer to this question, or not well-formed. */
MUST_USE int dns_forwarded_parse(struct dns_forwarded *out, const struct dns_request *q,
                                 uint16_t id, const uint8_t *msg, size_t len);
/* Upstream's answer records as the reply's, TTLs lowered by age_s; authority and additional
 * sections are dropped. msg is what dns_forwarded_parse accepted. Ends the reply; returns its
 * length. */
size_t dns_reply_forwarded(struct dns_reply *r, const struct dns_forwarded *up, const uint8_t *msg,
                           uint32_t age_s);
