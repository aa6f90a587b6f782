/* SPDX-License-Identifier: Apache-2.0 */
#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static _Thread_local int fault_in = -1;
static _Thread_local unsigned tries;

NO_RETURN COLD static void out_of_memory(size_t size)
{
    (void)fprintf(stderr, "out of memory: %zu bytes\n", size);
    abort();
}

void *mem_alloc(size_t size)
{
    void *p = calloc(1, size > 0 ? size : 1);

    if (!p) {
        out_of_memory(size);
    }
    return p;
}

void *mem_array(size_t count, size_t size)
{
    void *p = calloc(count > 0 ? count : 1, size > 0 ? size : 1);

    if (!p) {
        out_of_memory(size);
    }
    return p;
}

void *mem_dup(const void *from, size_t len)
{
    char *p = malloc(len + 1);

    if (!p) {
        out_of_memory(len);
    }
    if (len > 0) {
        memcpy(p, from, len);
    }
    p[len] = '\0';
    return p;
}

char *mem_strdup(const char *s)
{
    return mem_dup(s, strlen(s));
}

void *mem_resize(void *old, size_t size)
{
    void *p = realloc(old, size > 0 ? size : 1);

    if (!p) {
        out_of_memory(size);
    }
    return p;
}

static bool fault_now(void)
{
    tries++;
    return fault_in >= 0 && fault_in-- == 0;
}

void *mem_try(size_t size, size_t limit)
{
    if (size > limit || fault_now()) {
        return NULL;
    }
    return malloc(size > 0 ? size : 1);
}

void *mem_try_resize(void *old, size_t size, size_t limit)
{
    if (size > limit || fault_now()) {
        return NULL;
    }
    return realloc(old, size > 0 ? size : 1);
}

void mem_free(void *p)
{
    free(p);
}

void *mem_pages(size_t size)
{
    /* cppcheck-suppress invalidFunctionArg; -1 is what an anonymous mapping gives */
    void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (p == MAP_FAILED) {
        out_of_memory(size);
    }
    return p;
}

void mem_pages_free(void *p, size_t size)
{
    if (p) {
        (void)munmap(p, size); /* fails only for what is no mapping */
    }
}

void mem_wipe(void *p, size_t size)
{
    if (p) {
        explicit_bzero(p, size);
    }
}

void mem_free_secret(void *p, size_t size)
{
    mem_wipe(p, size);
    free(p);
}

unsigned mem_fault_set(int nth)
{
    unsigned n = tries;

    tries = 0;
    fault_in = nth;
    return n;
}
