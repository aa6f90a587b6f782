/* SPDX-License-Identifier: Apache-2.0 */
/* Certificates as /config_dump shows them (contract 9.6). */
#pragma once

#include "ca/cert_manager.h"
#include "codec/json.h"

/* On the manager's loop. */
struct json *cert_manager_json(const struct cert_manager *m);
