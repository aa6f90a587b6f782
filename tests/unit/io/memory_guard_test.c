/* SPDX-License-Identifier: Apache-2.0 */
#include "io/memory_guard.h"

#include <string.h>

#include "base/mem.h"
#include "t.h"

enum { SIZE = 64 << 20 };

static void pass(struct loop *l)
{
    loop_advance(l, MEMORY_LOOK_MS);
    for (int i = 0; i < 3; i++) {
        (void)loop_turn(l, 0);
    }
}

TEST(what_is_used_of_the_limit_is_known_within_a_moment)
{
    struct loop *l = loop_new(NULL);
    uint64_t before = memory_used();
    struct memory_guard g;

    loop_stop_clock(l);
    CHECK(before > 0);
    /* What is there is under 90 %, with the block it is over. */
    memory_guard_init(&g, l, (before + SIZE) / 100 * 105);
    CHECK(!memory_guard_is_over(&g));
    char *block = mem_pages(SIZE);
    memset(block, 1, SIZE);
    CHECK(memory_used() >= before + SIZE / 2);
    CHECK(!memory_guard_is_over(&g));
    pass(l);
    CHECK(memory_guard_is_over(&g));
    mem_pages_free(block, SIZE);
    pass(l);
    CHECK(!memory_guard_is_over(&g));
    memory_guard_fini(&g);
    loop_free(l);
}

TEST(without_a_limit_nothing_is_over)
{
    struct loop *l = loop_new(NULL);
    struct memory_guard g;

    loop_stop_clock(l);
    memory_guard_init(&g, l, 0);
    pass(l);
    CHECK(!memory_guard_is_over(&g));
    memory_guard_fini(&g);
    memory_guard_init(&g, l, 16 << 10); /* less than any process has */
    CHECK(memory_guard_is_over(&g));
    memory_guard_fini(&g);
    loop_free(l);
}

TEST(the_smaller_limit_counts)
{
    uint64_t group = memory_limit(0);

    CHECK_INT(memory_limit(1 << 20), 1 << 20); /* no group has so little */
    CHECK_INT(memory_limit(UINT64_MAX >> 1), group > 0 ? group : UINT64_MAX >> 1);
}
