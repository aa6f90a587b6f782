/* SPDX-License-Identifier: Apache-2.0 */
#include "hbone/glitch.h"

#include "base/num.h"

static void fill(struct glitches *g, uint64_t tokens)
{
    for (int i = 0; i < GLITCH_COUNT; i++) {
        g->left[i] = (uint16_t)MIN_OF(g->left[i] + tokens, (uint64_t)GLITCH_BURST);
    }
}

void glitches_init(struct glitches *g, uint64_t now_ms)
{
    *g = (struct glitches){.since_ms = now_ms};
    fill(g, GLITCH_BURST);
}

bool glitch_spend(struct glitches *g, enum glitch kind, uint64_t now_ms)
{
    if (g->left[kind] == 0) {
        fill(g, (now_ms - g->since_ms) * GLITCH_PER_MS);
        g->since_ms = now_ms;
    }
    if (g->left[kind] == 0) {
        return false;
    }
    g->left[kind]--;
    return true;
}

void glitch_earn(struct glitches *g, enum glitch kind)
{
    if (g->left[kind] < GLITCH_BURST) {
        g->left[kind]++;
    }
}
