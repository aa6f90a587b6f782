/* SPDX-License-Identifier: Apache-2.0 */
/* xxHash64 with seed 0, after its published description: the same in every process, for versions,
 * tags and rings. Nothing that must withstand an attacker rests on it (for tables: base/map.h). */
#pragma once

#include <stddef.h>
#include <stdint.h>

uint64_t xxh64(const void *bytes, size_t len);
