/* SPDX-License-Identifier: Apache-2.0 */
/* For what goes on with a server on the test's own loop, whose clock the test moves. */
#pragma once

#include "io/loop.h"
#include "t.h"

#define AWAIT(l, condition)                                                                        \
    for (unsigned turns_ = 0; turns_ < 20000 && !(condition); turns_++) {                          \
        (void)loop_turn((l), 1);                                                                   \
        loop_advance((l), 50);                                                                     \
    }                                                                                              \
    CHECK(condition)
