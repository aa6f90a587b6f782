/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Outlier ejection of one endpoint as a state machine without a clock: results and times come in.
 * The n-th ejection lasts n times the base; each clean interval forgives one. One worker's view.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "model/l7_traffic.h"

enum l7_result {
    L7_RESULT_GOOD = 0,
    L7_RESULT_5XX,
    L7_RESULT_GATEWAY /* 502, 503, 504, no answer */
};
enum l7_result l7_result_of(unsigned status); /* 0: no answer */

struct l7_health {       /* zeroed is healthy */
    uint32_t errors_5xx; /* consecutive, gateway errors included */
    uint32_t errors_gateway;
    uint32_t times; /* ejections not forgiven yet */
    uint64_t until_ms;
    uint64_t checked_ms; /* when an interval was last judged */
};

bool l7_is_ejected(const struct l7_health *h, uint64_t now_ms);
/* True: this result asks for an ejection; l7_eject it if l7_may_eject. */
bool l7_health_result(struct l7_health *h, const struct l7_outlier *o, enum l7_result r,
                      uint64_t now_ms);
/* One more of endpoints may go: at least one always may. */
bool l7_may_eject(const struct l7_outlier *o, size_t ejected, size_t endpoints);
void l7_eject(struct l7_health *h, const struct l7_outlier *o, uint64_t now_ms);
