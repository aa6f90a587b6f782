/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The header fields of a CONNECT and of its answer that the mesh uses (contract 2.4 to 2.6). A slice
 * whose p is NULL is an absent field; an empty one is present. All are borrowed: from the caller for a
 * call, or from whatever yielded the head.
 */
#pragma once

#include "base/str.h"

struct hbone_head {
    struct slice method; /* requests received; dials always say CONNECT */
    struct slice authority;
    struct slice baggage; /* several lines are joined with "," */
    struct slice forwarded;
    struct slice traceparent;
    struct slice network; /* x-forwarded-network */
};
