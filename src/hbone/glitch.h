/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Budgets against a peer that only makes work: one bucket of tokens a kind, refilled by time and, for
 * kinds that honest traffic brings along, by that traffic. The buckets are wide enough for the floods
 * that the real proxy bears (contract 2.3 as recorded: 10,000 at once), and no wider than that.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum glitch {
    GLITCH_PING,
    GLITCH_SETTINGS,
    GLITCH_EMPTY_DATA,   /* without END_STREAM */
    GLITCH_SMALL_WINDOW, /* WINDOW_UPDATE of less than GLITCH_WINDOW_MIN; earned by data we send */
    GLITCH_IGNORED,      /* PRIORITY, unknown frames, what comes for streams that are gone */
    GLITCH_RESET_SENT,   /* streams that we had to reset or refuse */
    GLITCH_COUNT
};

enum {
    GLITCH_BURST = 16384,
    GLITCH_PER_MS = 1,
    GLITCH_WINDOW_MIN = 1024,
};

struct glitches {
    uint64_t since_ms; /* when tokens were last added */
    uint16_t left[GLITCH_COUNT];
};

void glitches_init(struct glitches *g, uint64_t now_ms);
/* Takes one token: false when the peer has had enough. */
bool glitch_spend(struct glitches *g, enum glitch kind, uint64_t now_ms);
void glitch_earn(struct glitches *g, enum glitch kind);
