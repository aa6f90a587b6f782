/* SPDX-License-Identifier: Apache-2.0 */
/* The PROXY protocol header, version 2, as an application tunnel gets it (contract 2.13). */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/ip.h"

/* 16 fixed, two IPv6 addresses and ports, one TLV */
enum { PROXYPROTO_IDENTITY_MAX = 2048, PROXYPROTO_MAX = 16 + 36 + 3 + PROXYPROTO_IDENTITY_MAX };

/* Addresses of different families leave the address block out. identity: the peer's SPIFFE URI,
 * NULL where it has none. Returns the length; -ERR_TOO_LARGE for an identity over its limit. */
MUST_USE int proxyproto_write(uint8_t into[static PROXYPROTO_MAX], const struct endpoint *src,
                              const struct endpoint *dst, const char *identity);
