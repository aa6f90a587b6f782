/* SPDX-License-Identifier: Apache-2.0 */
/* Randomness. rand_bytes is the kernel's generator; struct rand_seq is a seedable sequence for
 * choices (load balancing, jitter) that tests must be able to repeat. */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* Never fails: aborts where the kernel has no generator. */
void rand_bytes(void *into, size_t len);
uint64_t rand_u64(void);

struct rand_seq {
    uint64_t state;
};

void rand_seq_init(struct rand_seq *s, uint64_t seed);
uint64_t rand_seq_next(struct rand_seq *s);
/* Uniform in [0, bound); bound > 0. */
uint64_t rand_seq_below(struct rand_seq *s, uint64_t bound);
