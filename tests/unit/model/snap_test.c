/* SPDX-License-Identifier: Apache-2.0 */
#include "model/snap.h"

#include <pthread.h>
#include <stdatomic.h>

#include "base/mem.h"
#include "t.h"

enum { LOOPS = 3, VERSIONS = 20000, CELLS = 8 };

struct value {
    struct snap snap;
    unsigned long cell[CELLS];
};

static struct snap_slot slots[LOOPS];
static struct snap_bin bin;
static atomic_int alive;
static atomic_int freed_elsewhere; /* frees on a thread that is not the publisher's */
static atomic_int torn;
static atomic_int adopted;
static atomic_bool stop;
static pthread_t publisher;

static void on_free(struct snap *s)
{
    struct value *v = container_of(s, struct value, snap);

    atomic_fetch_add(&freed_elsewhere, !pthread_equal(pthread_self(), publisher));
    atomic_fetch_sub(&alive, 1);
    for (int i = 0; i < CELLS; i++) {
        v->cell[i] = (unsigned long)i; /* makes a late reader visible */
    }
    mem_free(v);
}

static struct snap *value_new(unsigned long version)
{
    struct value *v = mem_new(struct value);

    snap_init(&v->snap, &bin, on_free);
    for (int i = 0; i < CELLS; i++) {
        v->cell[i] = version;
    }
    atomic_fetch_add(&alive, 1);
    return &v->snap;
}

static void look(struct snap *s, unsigned long *last)
{
    const struct value *v = s ? container_of(s, struct value, snap) : NULL;

    for (int i = 1; v && i < CELLS; i++) {
        atomic_fetch_add(&torn, v->cell[i] != v->cell[0]);
    }
    if (v) {
        atomic_fetch_add(&torn, v->cell[0] < *last); /* time does not run backwards */
        *last = v->cell[0];
    }
}

static void *loop_main(void *arg)
{
    struct snap_slot *slot = arg;
    struct snap *held = NULL;
    unsigned long last = 0;

    for (unsigned turn = 0; !atomic_load(&stop); turn++) {
        atomic_fetch_add(&adopted, snap_adopt(slot));
        look(snap_now(slot), &last);
        if (snap_now(slot) && turn % 64 == 0) { /* a connection that keeps what it was decided by */
            unsigned long then = 0;
            look(held, &then);
            snap_unref(held);
            held = snap_ref(snap_now(slot));
        }
    }
    snap_unref(held);
    return NULL;
}

TEST(readers_see_whole_values_and_only_the_publisher_frees)
{
    pthread_t thread[LOOPS];

    publisher = pthread_self();
    for (int i = 0; i < LOOPS; i++) {
        CHECK_INT(pthread_create(&thread[i], NULL, loop_main, &slots[i]), 0);
    }
    for (unsigned long v = 1; v <= VERSIONS || atomic_load(&adopted) < LOOPS; v++) {
        snap_publish(slots, LOOPS, value_new(v));
        (void)snap_bin_empty(&bin);
    }
    atomic_store(&stop, true);
    for (int i = 0; i < LOOPS; i++) {
        (void)pthread_join(thread[i], NULL);
        snap_slot_fini(&slots[i]);
    }
    (void)snap_bin_empty(&bin);
    CHECK_INT(torn, 0);
    CHECK_INT(freed_elsewhere, 0);
    CHECK_INT(alive, 0);
}

static int freed;

static void count_free(struct snap *s)
{
    freed++;
    mem_free(container_of(s, struct value, snap));
}

TEST(without_a_bin_the_last_reference_frees)
{
    struct snap_slot slot = {NULL};
    struct value *v = mem_new(struct value);
    struct value *w = mem_new(struct value);

    snap_init(&v->snap, NULL, count_free);
    snap_init(&w->snap, NULL, count_free);
    CHECK(!snap_adopt(&slot) && !snap_now(&slot));
    snap_publish(&slot, 1, &v->snap);
    CHECK(snap_adopt(&slot) && snap_now(&slot) == &v->snap && !snap_adopt(&slot));
    snap_publish(&slot, 1, &w->snap);
    CHECK_INT(freed, 0);
    CHECK(snap_adopt(&slot));
    CHECK_INT(freed, 1);
    snap_slot_fini(&slot);
    CHECK_INT(freed, 2);
}
