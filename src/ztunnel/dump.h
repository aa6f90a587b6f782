/* SPDX-License-Identifier: Apache-2.0 */
/* What /config_dump shows of the program itself (contract 9.6): names and shapes are read by istioctl. */
#pragma once

#include "codec/json.h"
#include "ztunnel/config.h"

struct json *dump_config(const struct config *c);
struct json *dump_version(const struct config *c);
