/* SPDX-License-Identifier: Apache-2.0 */
#include "base/bytes.h"

#include <string.h>

#include "base/mem.h"
#include "base/rand.h"
#include "t.h"

/* Against a plain array that never moves anything. */
TEST(a_random_history_keeps_order_and_limit)
{
    enum { LIMIT = 5000, STEPS = 20000 };
    struct bytes b;
    struct rand_seq rnd;
    unsigned in = 0;
    unsigned out = 0;
    bool same = true;

    bytes_init(&b, LIMIT);
    rand_seq_init(&rnd, 7);
    for (int i = 0; i < STEPS; i++) {
        size_t n = rand_seq_below(&rnd, 900);
        if (rand_seq_below(&rnd, 2) == 0) {
            uint8_t *to = bytes_reserve(&b, n);
            same = same && (to != NULL) == (n <= LIMIT - b.len);
            for (size_t k = 0; to && k < n; k++) {
                to[k] = (uint8_t)(in++ * 31 / 7);
            }
            if (to) {
                bytes_commit(&b, n);
            }
        } else {
            n = n < b.len ? n : b.len;
            for (size_t k = 0; k < n; k++) {
                same = same && bytes_peek(&b)[k] == (uint8_t)(out++ * 31 / 7);
            }
            bytes_skip(&b, n);
        }
    }
    bytes_fini(&b);
    CHECK(same);
    CHECK(in > 100000);
}

TEST(short_memory_leaves_the_contents_alone)
{
    struct bytes b;

    bytes_init(&b, 1 << 20);
    CHECK_INT(bytes_add(&b, "hello", 5), 0);
    (void)mem_fault_set(0);
    uint8_t *to = bytes_reserve(&b, 4096);
    (void)mem_fault_set(-1);
    bool kept = b.len == 5 && memcmp(bytes_peek(&b), "hello", 5) == 0;
    bytes_fini(&b);
    CHECK(to == NULL);
    CHECK(kept);
}
