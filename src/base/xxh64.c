/* SPDX-License-Identifier: Apache-2.0 */
#include "base/xxh64.h"

enum { STRIPE = 32 };

static const uint64_t P1 = 0x9E3779B185EBCA87u;
static const uint64_t P2 = 0xC2B2AE3D27D4EB4Fu;
static const uint64_t P3 = 0x165667B19E3779F9u;
static const uint64_t P4 = 0x85EBCA77C2B2AE63u;
static const uint64_t P5 = 0x27D4EB2F165667C5u;

static uint64_t rotate(uint64_t v, unsigned by)
{
    return v << by | v >> (64 - by);
}

static uint64_t le_get(const uint8_t *p, unsigned octets)
{
    uint64_t v = 0;

    for (unsigned i = octets; i > 0; i--) {
        v = v << 8 | p[i - 1];
    }
    return v;
}

static uint64_t mix(uint64_t lane, uint64_t input)
{
    return rotate(lane + input * P2, 31) * P1;
}

/* The whole stripes; *at and *left then stand at what remains. */
static uint64_t hash_stripes(const uint8_t **at, size_t *left)
{
    uint64_t lane[4] = {P1 + P2, P2, 0, 0 - P1};

    for (; *left >= STRIPE; *at += STRIPE, *left -= STRIPE) {
        for (unsigned i = 0; i < 4; i++) {
            lane[i] = mix(lane[i], le_get(*at + 8 * (size_t)i, 8));
        }
    }
    uint64_t h =
        rotate(lane[0], 1) + rotate(lane[1], 7) + rotate(lane[2], 12) + rotate(lane[3], 18);
    for (unsigned i = 0; i < 4; i++) {
        h = (h ^ mix(0, lane[i])) * P1 + P4;
    }
    return h;
}

static uint64_t hash_tail(uint64_t h, const uint8_t *at, size_t left)
{
    for (; left >= 8; at += 8, left -= 8) {
        h = rotate(h ^ mix(0, le_get(at, 8)), 27) * P1 + P4;
    }
    if (left >= 4) {
        h = rotate(h ^ le_get(at, 4) * P1, 23) * P2 + P3;
        at += 4;
        left -= 4;
    }
    for (; left > 0; at++, left--) {
        h = rotate(h ^ *at * P5, 11) * P1;
    }
    return h;
}

uint64_t xxh64(const void *bytes, size_t len)
{
    const uint8_t *at = bytes;
    size_t left = len;
    uint64_t h = len >= STRIPE ? hash_stripes(&at, &left) : P5;

    h = hash_tail(h + len, at, left);
    h = (h ^ h >> 33) * P2;
    h = (h ^ h >> 29) * P3;
    return h ^ h >> 32;
}
