/* SPDX-License-Identifier: Apache-2.0 */
#include "base/num.h"
#include "http/h2_int.h"

/* Acknowledgements, window updates and pings that come with real traffic are paid for by it; this
 * many may be saved up. */
enum { FREE_MAX = 1000, FREE_FIRST = 20 };

void h2_budget_init(struct h2_session *s)
{
    s->budget = (struct h2_budget){.millitokens = (uint64_t)s->o.tokens * 1000,
                                   .at_ms = loop_now_ms(s->task.loop),
                                   .free = FREE_FIRST};
}

void h2_budget_earn(struct h2_session *s, uint32_t frames)
{
    s->budget.free = MIN_OF(s->budget.free + frames, (uint32_t)FREE_MAX);
}

static void refill(struct h2_session *s)
{
    struct h2_budget *b = &s->budget;
    uint64_t now = loop_now_ms(s->task.loop);

    b->millitokens =
        MIN_OF(b->millitokens + (now - b->at_ms) * s->o.tokens_per_s, (uint64_t)s->o.tokens * 1000);
    b->at_ms = now;
}

static bool can_be_free(enum h2_token token)
{
    return token == H2_TOKEN_PING || token == H2_TOKEN_SETTINGS || token == H2_TOKEN_OTHER;
}

void h2_budget_spend(struct h2_session *s, enum h2_token token)
{
    static const char *const names[H2_TOKENS] = {
        [H2_TOKEN_RESET] = "resets",       [H2_TOKEN_OWN_RESET] = "stream errors",
        [H2_TOKEN_SETTINGS] = "SETTINGS",  [H2_TOKEN_PING] = "PINGs",
        [H2_TOKEN_EMPTY] = "empty frames", [H2_TOKEN_OTHER] = "idle frames"};

    if (can_be_free(token) && s->budget.free > 0) {
        s->budget.free--;
        return;
    }
    refill(s);
    if (s->budget.millitokens >= 1000) {
        s->budget.millitokens -= 1000;
    } else {
        h2_fail(s, FAIL(&s->diag, -ERR_H2_ABUSE, "too many %s", names[token]));
    }
}
