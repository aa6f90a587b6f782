/* SPDX-License-Identifier: Apache-2.0 */
/* Gateways inside packed objects: their strings are the pool's. */
#pragma once

#include "model/gateway.h"
#include "model/intern.h"
#include "model/pack_int.h"

struct gateway gateway_copy(const struct gateway *from, struct intern *pool);
/* NULL where from is not set. */
const struct gateway *gateway_pack(struct pack *p, const struct gateway *from, struct intern *pool);
void gateway_release(const struct gateway *g);
