/* SPDX-License-Identifier: Apache-2.0 */
#include "hbone/budget.h"

#include <assert.h>

void budget_init(struct budget *b, size_t limit_bytes, struct budget *parent)
{
    *b = (struct budget){.parent = parent, .limit_bytes = limit_bytes};
}

void budget_charge(struct budget *b, size_t len)
{
    for (; b; b = b->parent) {
        b->used_bytes += len;
    }
}

void budget_release(struct budget *b, size_t len)
{
    for (; b; b = b->parent) {
        assert(b->used_bytes >= len);
        b->used_bytes -= len;
    }
}

bool budget_is_over(const struct budget *b)
{
    for (; b; b = b->parent) {
        if (b->used_bytes > b->limit_bytes) {
            return true;
        }
    }
    return false;
}

/* Half full: a quarter of the wish; three quarters: a sixteenth; seven eighths: the least. */
static unsigned shift_of(const struct budget *b)
{
    size_t left = b->used_bytes < b->limit_bytes ? b->limit_bytes - b->used_bytes : 0;

    if (left > b->limit_bytes / 2) {
        return 0;
    }
    return left > b->limit_bytes / 4 ? 2 : left > b->limit_bytes / 8 ? 4 : 31;
}

uint32_t budget_window(const struct budget *b, uint32_t want)
{
    unsigned shift = 0;

    for (; b; b = b->parent) {
        unsigned own = shift_of(b);

        shift = own > shift ? own : shift;
    }
    uint32_t least = want < BUDGET_WINDOW_MIN ? want : BUDGET_WINDOW_MIN;
    uint32_t window = want >> shift;
    return window > least ? window : least;
}
