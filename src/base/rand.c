/* SPDX-License-Identifier: Apache-2.0 */
#include "base/rand.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/types.h>

void rand_bytes(void *into, size_t len)
{
    uint8_t *p = into;

    while (len > 0) {
        ssize_t n = getrandom(p, len, 0);
        if (n < 0 && errno != EINTR) {
            (void)fprintf(stderr, "getrandom failed\n");
            abort();
        }
        if (n > 0) {
            p += n;
            len -= (size_t)n;
        }
    }
}

uint64_t rand_u64(void)
{
    uint64_t v;

    rand_bytes(&v, sizeof(v));
    return v;
}

void rand_seq_init(struct rand_seq *s, uint64_t seed)
{
    s->state = seed;
}

/* splitmix64 (Steele, Lea, Flood 2014): one word of state, every seed is good. */
uint64_t rand_seq_next(struct rand_seq *s)
{
    uint64_t z = s->state += 0x9e3779b97f4a7c15u;

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

uint64_t rand_seq_below(struct rand_seq *s, uint64_t bound)
{
    uint64_t reject_over = UINT64_MAX - UINT64_MAX % bound;
    uint64_t v;

    do {
        v = rand_seq_next(s);
    } while (v >= reject_over);
    return v % bound;
}
