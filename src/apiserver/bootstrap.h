/* SPDX-License-Identifier: Apache-2.0 */
/* What every cluster has from its first moment: the namespaces, and definitions of the custom kinds
 * that this server serves (clients look there before they watch a kind). */
#pragma once

#include <stdint.h>

struct api;

/* Puts in what is missing; nothing that is there is changed. Once, after loading. */
void bootstrap(struct api *a, int64_t now_s);
