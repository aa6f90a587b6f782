/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Scope-bound ownership and the attributes that document it.
 *
 * AUTO(x) releases a local on every way out of its block, MOVE() hands ownership on, and the
 * attribute names below are the only spelling of compiler attributes outside base/.
 */
#pragma once

#include <stddef.h>

#define MUST_USE              __attribute__((warn_unused_result))
#define PRINTF_LIKE(fmt, arg) __attribute__((format(printf, fmt, arg)))
#define NO_RETURN             __attribute__((noreturn))
#define COLD                  __attribute__((cold))
#define UNUSED                __attribute__((unused))
/* A large local array that is written before it is read: not cleared first, unlike all others. */
#define UNINITIALIZED __attribute__((uninitialized))

/* Names the releasing function to gcc, which then finds double frees and wrong frees at build time.
 * The -fanalyzer job defines it away: inside the constructor's own file it sees ghosts. */
#if defined(__GNUC__) && !defined(__clang__) && !defined(NO_FREED_BY)
#define FREED_BY(release) __attribute__((malloc, malloc(release, 1)))
#else
#define FREED_BY(release)
#endif

#define container_of(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define BIT(n)       (1u << (n))

/* AUTO_DEFINE(cert, struct cert *, cert_free) once per type, beside the prototype of cert_free. */
#define AUTO_DEFINE(tag, type, release)                                                            \
    static inline void auto_release_##tag(type *owned)                                             \
    {                                                                                              \
        release(*owned);                                                                           \
    }                                                                                              \
    struct auto_define_wants_a_semicolon

#define AUTO(tag) __attribute__((cleanup(auto_release_##tag), unused))

#define MOVE(owned)                                                                                \
    __extension__({                                                                                \
        __typeof__(owned) *move_from_ = &(owned);                                                  \
        __typeof__(owned) moved_ = *move_from_;                                                    \
        *move_from_ = NULL;                                                                        \
        moved_;                                                                                    \
    })
