/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/near.h"

#include <stdbool.h>
#include <string.h>

#include "base/num.h"

/* One row of the table of distances: a's first i letters against every beginning of b. */
struct row {
    unsigned at[NEAR_WORD_MAX + 1];
};

static void next_row(const char *a, size_t i, const char *b, size_t len, struct row rows[static 3])
{
    rows[2].at[0] = (unsigned)i;
    for (size_t k = 1; k <= len; k++) {
        unsigned change = rows[1].at[k - 1] + (a[i - 1] != b[k - 1]);
        unsigned best = MIN_OF(change, MIN_OF(rows[1].at[k], rows[2].at[k - 1]) + 1);
        if (i > 1 && k > 1 && a[i - 1] == b[k - 2] && a[i - 2] == b[k - 1]) {
            best = MIN_OF(best, rows[0].at[k - 2] + 1);
        }
        rows[2].at[k] = best;
    }
}

unsigned near_distance(const char *a, const char *b)
{
    struct row rows[3] = {0};
    size_t a_len = strnlen(a, NEAR_WORD_MAX);
    size_t b_len = strnlen(b, NEAR_WORD_MAX);

    for (size_t k = 0; k <= b_len; k++) {
        rows[1].at[k] = (unsigned)k;
    }
    for (size_t i = 1; i <= a_len; i++) {
        next_row(a, i, b, b_len, rows);
        rows[0] = rows[1];
        rows[1] = rows[2];
    }
    return rows[1].at[b_len];
}

const char *near_best(const char *word, const char *best, const char *candidate)
{
    /* Short words are near everything, and people get the first letter right. */
    bool is_short = strlen(word) < 4 || (strlen(word) < 6 && word[0] != candidate[0]);
    unsigned limit = is_short ? 1 : 2;
    unsigned distance = near_distance(word, candidate);

    if (distance > limit || (best && near_distance(word, best) <= distance)) {
        return best;
    }
    return candidate;
}
