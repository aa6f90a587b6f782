/* SPDX-License-Identifier: Apache-2.0 */
/* What a connection speaks, from its first bytes. Pure. */
#pragma once

#include <stddef.h>

enum sniffed {
    SNIFF_MORE, /* nobody can say yet */
    SNIFF_H1,
    SNIFF_H2, /* the preface of RFC 9113 3.4, whole */
    SNIFF_TCP
};

enum { SNIFF_BYTES_MAX = 8 << 10, H2_PREFACE_LEN = 24 };

/* Looks for the start of an HTTP/1.x request line or the HTTP/2 preface. */
enum sniffed sniff(const char *p, size_t len);
/* HTTP it is: which one. Never SNIFF_TCP. */
enum sniffed sniff_http(const char *p, size_t len);
