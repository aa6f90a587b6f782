/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Allocation in two kinds. mem_new and friends abort: a few hundred bytes do not fail on a node that
 * is still alive. mem_try is for sizes that a peer can influence: it has a limit, may fail, and its
 * result is checked. Fault tests can make any allocation of the second kind fail.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/auto.h"

/* Zeroed; never NULL. */
void *mem_alloc(size_t size);
void *mem_array(size_t count, size_t size);
#define mem_new(type) ((type *)mem_alloc(sizeof(type)))

/* Never NULL. The copy of a string or of len bytes; the latter is followed by a zero byte. */
char *mem_strdup(const char *s);
void *mem_dup(const void *from, size_t len);
/* Never NULL; keeps the old contents, what is new is not zeroed. */
void *mem_resize(void *old, size_t size);

/* NULL when size is over limit or memory is short. Not zeroed. */
void *mem_try(size_t size, size_t limit);
/* NULL on the same grounds; old is then untouched. */
void *mem_try_resize(void *old, size_t size, size_t limit);

/* Accepts NULL. */
void mem_free(void *p);

/* Zeroed, never NULL; whole pages of its own, which the kernel has back at once when they are freed:
 * for the few large buffers of a loop. */
void *mem_pages(size_t size);
void mem_pages_free(void *p, size_t size);
/* Clears before freeing: for keys and tokens. */
void mem_free_secret(void *p, size_t size);
/* A clear that the compiler keeps. */
void mem_wipe(void *p, size_t size);

/* Tests only: the nth mem_try from now fails (0 = the next one), once; negative: none. Returns how
 * many mem_try calls this thread has made since the last call. */
unsigned mem_fault_set(int nth);

AUTO_DEFINE(mem, void *, mem_free);
AUTO_DEFINE(text, char *, mem_free);
