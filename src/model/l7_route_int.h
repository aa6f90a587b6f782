/* SPDX-License-Identifier: Apache-2.0 */
/* What a rule's template must satisfy; apart from how it is laid out. */
#pragma once

#include "model/l7_route.h"

MUST_USE int l7_route_check(const struct l7_route *from, struct diag *why);
