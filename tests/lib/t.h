/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The unit-test library. TEST(name) registers itself; a failing CHECK returns from the test, so
 * AUTO() locals are released and a leak report means a leak. Output is TAP. A test cannot skip.
 * A test program has a network of its own: no port is somebody else's, and where it does not listen,
 * nobody does.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

struct test {
    const char *name;
    void (*fn)(struct test *t);
    struct test *next;
    bool failed;
};

void test_register(struct test *t);
void test_fail(struct test *t, const char *file, int line, const char *what);
bool test_int(struct test *t, const char *file, int line, const char *what, long long got,
              long long want);
bool test_str(struct test *t, const char *file, int line, const char *what, const char *got,
              const char *want);
bool test_mem(struct test *t, const char *file, int line, const char *what, const void *got,
              const void *want, size_t len);
/* The calling thread gets a network namespace of its own, with nothing but loopback. */
bool test_network_new(void);
/* How many descriptors this process holds: compare before and after. */
int test_fd_count(void);
/* A whole file from tests/vectors (path relative to it), zero-terminated; the caller frees it. Exits
 * when it is missing: a test must not pass for want of its data. */
char *test_vector(const char *path, size_t *out_len);

#define TEST(id)                                                                                   \
    static void id(struct test *t);                                                                \
    static struct test id##_case = {.name = #id, .fn = (id)};                                      \
    __attribute__((constructor)) static void id##_register(void)                                   \
    {                                                                                              \
        test_register(&id##_case);                                                                 \
    }                                                                                              \
    static void id(struct test *t)

#define CHECK(expr)                                                                                \
    do {                                                                                           \
        if (!(expr)) {                                                                             \
            test_fail(t, __FILE__, __LINE__, #expr);                                               \
            return;                                                                                \
        }                                                                                          \
    } while (0)

#define CHECK_INT(got, want)                                                                       \
    do {                                                                                           \
        if (!test_int(t, __FILE__, __LINE__, #got, (long long)(got), (long long)(want))) {         \
            return;                                                                                \
        }                                                                                          \
    } while (0)

#define CHECK_STR(got, want)                                                                       \
    do {                                                                                           \
        if (!test_str(t, __FILE__, __LINE__, #got, (got), (want))) {                               \
            return;                                                                                \
        }                                                                                          \
    } while (0)

#define CHECK_MEM(got, want, len)                                                                  \
    do {                                                                                           \
        if (!test_mem(t, __FILE__, __LINE__, #got, (got), (want), (len))) {                        \
            return;                                                                                \
        }                                                                                          \
    } while (0)
