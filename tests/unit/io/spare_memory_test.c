/* SPDX-License-Identifier: Apache-2.0 */
#include "io/spare_memory.h"

#include <stdio.h>
#include <unistd.h>

#include "base/mem.h"
#include "t.h"

enum { BLOCK = 2048, BLOCKS = 8192, FREED_BYTES = BLOCK * BLOCKS };

struct rig {
    struct loop *loop;
    struct spare_memory spare;
    void *block[BLOCKS];
    void *last; /* keeps the allocator from shrinking by itself */
};

static void rig_start(struct rig *r)
{
    struct diag why;

    *r = (struct rig){.loop = loop_new(&why)};
    loop_stop_clock(r->loop);
    spare_memory_init(&r->spare, r->loop);
}

static void rig_end(struct rig *r)
{
    spare_memory_fini(&r->spare);
    loop_free(r->loop);
    mem_free(r->last);
}

static void take(struct rig *r)
{
    for (int i = 0; i < BLOCKS; i++) {
        r->block[i] = mem_alloc(BLOCK);
        *(volatile char *)r->block[i] = 1;
    }
    r->last = r->last ? r->last : mem_alloc(BLOCK);
}

static void give(struct rig *r)
{
    for (int i = 0; i < BLOCKS; i++) {
        mem_free(r->block[i]);
        r->block[i] = NULL;
    }
}

static void period(struct rig *r)
{
    loop_advance(r->loop, SPARE_PERIOD_MS);
    (void)loop_turn(r->loop, 0);
}

static long resident_bytes(void)
{
    long size = 0;
    long pages = 0;
    FILE *f = fopen("/proc/self/statm", "re");

    if (!f || fscanf(f, "%ld %ld", &size, &pages) != 2) {
        pages = -1;
    }
    if (f) {
        (void)fclose(f); /* read only */
    }
    return pages * sysconf(_SC_PAGESIZE);
}

/* A sanitizer brings an allocator of its own, which has nothing to give. */
#ifdef __SANITIZE_ADDRESS__
enum { GIVES = 0 };
#else
enum { GIVES = 1 };
#endif

static struct rig rig;

TEST(what_lies_free_for_a_period_goes_back_to_the_kernel)
{
    rig_start(&rig);
    take(&rig);
    give(&rig);
    long full = resident_bytes();
    period(&rig);
    CHECK(full - resident_bytes() < FREED_BYTES / 2); /* it may be wanted again */
    period(&rig);
    CHECK(!GIVES || full - resident_bytes() > FREED_BYTES / 2);
    rig_end(&rig);
}

TEST(what_is_taken_and_returned_within_a_period_stays)
{
    rig_start(&rig);
    take(&rig);
    long full = resident_bytes();
    for (int i = 0; i < 4; i++) {
        period(&rig); /* all of it is in use when one looks */
        give(&rig);
        CHECK(full - resident_bytes() < FREED_BYTES / 2);
        take(&rig);
    }
    give(&rig);
    rig_end(&rig);
}

TEST(a_second_load_is_given_back_like_the_first)
{
    rig_start(&rig);
    for (int i = 0; i < 2; i++) {
        take(&rig);
        period(&rig);
        long full = resident_bytes();
        give(&rig);
        period(&rig);
        period(&rig);
        CHECK(!GIVES || full - resident_bytes() > FREED_BYTES / 2);
    }
    rig_end(&rig);
}
