/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What either end of an HTTP/1.1 connection allows its peer. A zero is the default; where the two
 * ends differ, both are given, server first. "Response" and "request" below are a server's; a client
 * sends the one and takes the other.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "codec/h1head.h"

#define H1_BODY_UNLIMITED     UINT64_MAX
#define H1_REQUESTS_UNLIMITED UINT32_MAX

struct h1_limits {
    uint32_t line_bytes;   /* request or status line: 16 KiB; longer is 414 */
    uint32_t head_bytes;   /* line and fields: 32 KiB, at most MESSAGE_BYTES_MAX; more is 431 */
    uint32_t fields;       /* 100, at most H1_FIELDS_MAX; more is 431 */
    uint32_t value_bytes;  /* one field value: 32 KiB; more is 431 */
    uint64_t body_bytes;   /* of a request; larger is 413: 16 MiB; a client: unlimited */
    uint32_t output_bytes; /* octets held for a peer that takes them slowly: 64 KiB */
    uint32_t header_ms;    /* first to last byte of a head: 10 s */
    /* A server's: with a rate (octets a second) a head has only head_grace_ms and a second more for
     * each head_rate octets of it that are there, within header_ms. 0: no such rate. */
    uint32_t head_rate;
    uint32_t head_grace_ms;
    uint32_t idle_ms;       /* between requests, and before the first: 60 s; a client: for ever */
    uint32_t body_stall_ms; /* while somebody waits for the peer's body: 30 s; a client: for ever */
    uint32_t write_stall_ms; /* octets wait and none is taken: 30 s */
    uint32_t requests;       /* on one connection, then it is closed: 10,000; a client: unlimited */
    enum h1_underscore names; /* field names with an underscore */
    /* Not limits, and a server's only: */
    bool secure;            /* the scheme is https */
    bool refuse_http10;     /* 426 for it */
    bool continue_by_owner; /* see exchange.h: who expects 100 is not answered by reading */
    bool shows_refusals;    /* requests that are not handed out are kept: h1_server_refusal */
    bool websocket;         /* upgrades to it are shown (MESSAGE_PROTOCOL); else never */
};
