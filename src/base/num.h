/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Checked arithmetic, byte order and strict number parsing. Parsing takes exactly the given length:
 * no blanks, no sign unless asked, no trailing text.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/auto.h"
#include "base/err.h"

#define MIN_OF(a, b) ((a) < (b) ? (a) : (b))
#define MAX_OF(a, b) ((a) > (b) ? (a) : (b))

static inline MUST_USE bool size_add(size_t a, size_t b, size_t *out)
{
    return !__builtin_add_overflow(a, b, out);
}

static inline MUST_USE bool size_mul(size_t a, size_t b, size_t *out)
{
    return !__builtin_mul_overflow(a, b, out);
}

/* Decimal digits only, at most max. 0 or -ERR_SYNTAX / -ERR_RANGE. */
MUST_USE int num_parse_u64(const char *s, size_t len, uint64_t max, uint64_t *out);
MUST_USE int num_parse_u32(const char *s, size_t len, uint32_t max, uint32_t *out);
/* 1 to 65535. */
MUST_USE int num_parse_port(const char *s, size_t len, uint16_t *out);
/* "5s", "1m30s", "100ms", "24h", "0.5s"; a bare number is seconds. Result in milliseconds. */
MUST_USE int num_parse_duration_ms(const char *s, size_t len, uint64_t *out);

static inline uint16_t be16_get(const uint8_t *p)
{
    return (uint16_t)((unsigned)p[0] << 8 | p[1]);
}

static inline uint32_t be24_get(const uint8_t *p)
{
    return (uint32_t)p[0] << 16 | (uint32_t)p[1] << 8 | p[2];
}

static inline uint32_t be32_get(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static inline uint64_t be64_get(const uint8_t *p)
{
    return (uint64_t)be32_get(p) << 32 | be32_get(p + 4);
}

static inline void be16_put(uint8_t *p, uint16_t v)
{
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}

static inline void be24_put(uint8_t *p, uint32_t v)
{
    p[0] = (uint8_t)(v >> 16);
    p[1] = (uint8_t)(v >> 8);
    p[2] = (uint8_t)v;
}

static inline void be32_put(uint8_t *p, uint32_t v)
{
    be16_put(p, (uint16_t)(v >> 16));
    be16_put(p + 2, (uint16_t)v);
}

static inline void be64_put(uint8_t *p, uint64_t v)
{
    be32_put(p, (uint32_t)(v >> 32));
    be32_put(p + 4, (uint32_t)v);
}
