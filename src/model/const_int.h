/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one place where const comes off. Model objects are immutable, so everybody holds them through
 * const pointers; their count and their memory are what still changes, and only here.
 */
#pragma once

#include <stdint.h>

static inline void *unconst(const void *p)
{
    return (void *)(uintptr_t)p;
}
