/* SPDX-License-Identifier: Apache-2.0 */
#include <pthread.h>
#include <string.h>

#include "base/mem.h"
#include "obs/admin.h"

struct readiness {
    pthread_mutex_t lock;                     /* held for a few comparisons only */
    const char *blockers[READY_BLOCKERS_MAX]; /* sorted */
    unsigned count;
};

struct readiness *readiness_new(void)
{
    struct readiness *r = mem_new(struct readiness);

    (void)pthread_mutex_init(&r->lock, NULL); /* cannot fail with default attributes */
    return r;
}

void readiness_free(struct readiness *r)
{
    if (r) {
        (void)pthread_mutex_destroy(&r->lock);
        mem_free(r);
    }
}

/* Where name stands or belongs. */
static unsigned place_of(const struct readiness *r, const char *name)
{
    unsigned i = 0;

    while (i < r->count && strcmp(r->blockers[i], name) < 0) {
        i++;
    }
    return i;
}

static bool stands_at(const struct readiness *r, unsigned i, const char *name)
{
    return i < r->count && strcmp(r->blockers[i], name) == 0;
}

void readiness_block(struct readiness *r, const char *name)
{
    (void)pthread_mutex_lock(&r->lock);
    unsigned i = place_of(r, name);
    if (!stands_at(r, i, name) && r->count < READY_BLOCKERS_MAX) {
        memmove(&r->blockers[i + 1], &r->blockers[i], (r->count - i) * sizeof(char *));
        r->blockers[i] = name;
        r->count++;
    }
    (void)pthread_mutex_unlock(&r->lock);
}

void readiness_clear(struct readiness *r, const char *name)
{
    (void)pthread_mutex_lock(&r->lock);
    unsigned i = place_of(r, name);
    if (stands_at(r, i, name)) {
        memmove(&r->blockers[i], &r->blockers[i + 1], (r->count - i - 1) * sizeof(char *));
        r->count--;
    }
    (void)pthread_mutex_unlock(&r->lock);
}

bool readiness_is_ready(struct readiness *r)
{
    (void)pthread_mutex_lock(&r->lock);
    bool ready = r->count == 0;
    (void)pthread_mutex_unlock(&r->lock);
    return ready;
}

void readiness_write(struct readiness *r, struct strbuf *out)
{
    (void)pthread_mutex_lock(&r->lock);
    for (unsigned i = 0; i < r->count; i++) {
        strbuf_printf(out, "%s%s", i > 0 ? ", " : "", r->blockers[i]);
    }
    (void)pthread_mutex_unlock(&r->lock);
}
