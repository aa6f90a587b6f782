/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A name server for tests, on the test's own loop: UDP and TCP on one port of loopback. It gives every
 * name 192.0.2.1 and 2001:db8::1 (TTL 77), or misbehaves as told.
 */
#pragma once

#include "io/listener.h"
#include "io/netns.h"
#include "io/udp.h"

enum fake_dns_way {
    FAKE_DNS_ANSWERS,
    FAKE_DNS_SILENT,
    FAKE_DNS_TRUNCATES,  /* over UDP: TC; the whole answer comes over TCP */
    FAKE_DNS_WRONG_ID,   /* first a stranger's answer with another id, then the right one */
    FAKE_DNS_WRONG_NAME, /* first an answer to another question, then the right one */
    FAKE_DNS_RCODE,      /* answers rcode, no records */
    FAKE_DNS_RCODE_ONCE, /* the first time; then it answers */
    FAKE_DNS_TCP_CUTS    /* truncates, and closes TCP in the middle of the answer */
};

struct fake_dns {
    struct loop *loop;
    struct endpoint at;
    enum fake_dns_way way;
    uint8_t rcode;
    uint32_t ttl_s;
    unsigned datagrams; /* queries seen */
    unsigned streams;
    uint8_t last[600]; /* the last query */
    size_t last_len;
    /* private */
    struct task task;
    struct udp_sock *udp;
    struct listener *tcp;
    struct fake_dns_client *clients;
};

/* In the namespace the thread is in. */
void fake_dns_start(struct fake_dns *d, struct loop *l, enum fake_dns_way way);
void fake_dns_stop(struct fake_dns *d);
/* A query for an A record (type 1) or another type; the length. Names like "a.example". */
size_t fake_dns_query(uint8_t *into, uint16_t id, const char *name, uint16_t type);
