/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Compression pointers may only go backwards, each below everything read so far: that alone bounds
 * the work and makes loops impossible.
 */

#include "base/ascii.h"
#include "base/num.h"
#include "codec/dnsmsg.h"
#include "codec/dnsname_int.h"

enum { POINTER = 0xc0 };

static bool is_pointer(uint8_t c)
{
    return (c & POINTER) == POINTER;
}

static size_t pointer_target(const uint8_t *p)
{
    return be16_get(p) & 0x3fffu;
}

int dnsname_skip(const uint8_t *msg, size_t len, size_t at)
{
    size_t end = 0;    /* behind the name where it stands; 0: no pointer followed yet */
    size_t total = 0;  /* of the expanded name */
    size_t floor = at; /* pointers go below all that was read */

    for (;;) {
        if (at >= len) {
            return -ERR_SYNTAX;
        }
        uint8_t c = msg[at];
        if (is_pointer(c)) {
            if (len - at < 2 || pointer_target(msg + at) >= floor ||
                pointer_target(msg + at) < DNS_HEADER) {
                return -ERR_SYNTAX;
            }
            end = end > 0 ? end : at + 2;
            at = floor = pointer_target(msg + at);
            continue;
        }
        total += c + 1u;
        if (c > DNSNAME_LABEL || total > DNSNAME_WIRE || len - at <= c) {
            return -ERR_SYNTAX;
        }
        at += c + 1u;
        if (c == 0) {
            return (int)(end > 0 ? end : at);
        }
    }
}

/* The label at *at, pointers followed; NULL: the root. */
static const uint8_t *next_label(const uint8_t *msg, size_t *at)
{
    const uint8_t *label;

    while (is_pointer(msg[*at])) {
        *at = pointer_target(msg + *at);
    }
    label = msg + *at;
    *at += label[0] + 1u;
    return label[0] > 0 ? label : NULL;
}

static bool is_plain(uint8_t c)
{
    return ascii_is_lower_alnum((char)c) || c == '-' || c == '_' || c == '*';
}

static char *put_byte(char *to, uint8_t c)
{
    if (is_plain(c)) {
        *to = (char)c;
        return to + 1;
    }
    to[0] = '\\';
    to[1] = (char)('0' + c / 100);
    to[2] = (char)('0' + c / 10 % 10);
    to[3] = (char)('0' + c % 10);
    return to + 4;
}

void dnsname_text(const uint8_t *msg, size_t at, char *text, size_t room)
{
    char *to = text;
    const uint8_t *label;

    /* A legal name needs at most 4 characters a byte: the check is for callers with less room. */
    while ((label = next_label(msg, &at)) && (size_t)(to - text) + 4u * DNSNAME_LABEL + 2 < room) {
        if (to > text) {
            *to++ = '.';
        }
        for (unsigned i = 1; i <= label[0]; i++) {
            to = put_byte(to, (uint8_t)ascii_lower((char)label[i]));
        }
    }
    *to = '\0';
}

/* One byte of text, escapes undone; NULL: a broken escape. */
static const char *get_byte(const char *text, uint8_t *out)
{
    unsigned v = 0;

    if (*text != '\\') {
        *out = (uint8_t)*text;
        return text + 1;
    }
    for (int i = 1; i <= 3; i++) {
        if (text[i] < '0' || text[i] > '9') {
            return NULL;
        }
        v = v * 10 + (unsigned)(text[i] - '0');
    }
    *out = (uint8_t)v;
    return v <= 255 ? text + 4 : NULL;
}

int dnsname_wire(const char *text, uint8_t into[static DNSNAME_WIRE])
{
    size_t len = 0;

    while (*text != '\0') {
        size_t label = len++;
        while (*text != '\0' && *text != '.') {
            /* The root byte must still fit behind this one. */
            if (len >= DNSNAME_WIRE - 1 || len - label > DNSNAME_LABEL) {
                return -ERR_SYNTAX;
            }
            text = get_byte(text, &into[len++]);
            if (!text) {
                return -ERR_SYNTAX;
            }
        }
        if (len - label < 2 || len >= DNSNAME_WIRE) {
            return -ERR_SYNTAX;
        }
        into[label] = (uint8_t)(len - label - 1);
        text += *text == '.';
    }
    into[len++] = 0;
    return (int)len;
}

bool dnsname_is(const uint8_t *msg, size_t at, const uint8_t *wire)
{
    const uint8_t *label;

    while ((label = next_label(msg, &at))) {
        if (label[0] != wire[0]) {
            return false;
        }
        for (unsigned i = 1; i <= label[0]; i++) {
            if (ascii_lower((char)label[i]) != ascii_lower((char)wire[i])) {
                return false;
            }
        }
        wire += wire[0] + 1u;
    }
    return wire[0] == 0;
}
