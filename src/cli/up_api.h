/* SPDX-License-Identifier: Apache-2.0 */
/* What a node needs in the API before its programs start: the node itself, a Pod that stands for its
 * proxy, and the proxy's token, bound to that Pod. Blocks. */
#pragma once

#include "base/err.h"

struct cli;
struct up_config;

MUST_USE int up_api_prepare_blocking(struct cli *c, const struct up_config *config,
                                     struct diag *why);
