/* SPDX-License-Identifier: Apache-2.0 */
/* The proof that a server has read a WebSocket handshake (RFC 6455 4.2.2). */
#pragma once

#include "base/str.h"

/* Appends the sec-websocket-accept that answers this sec-websocket-key. -ENOMEM. */
MUST_USE int websocket_accept(struct slice key, struct strbuf *out);
