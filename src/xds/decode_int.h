/* SPDX-License-Identifier: Apache-2.0 */
/* What the decoders of xds/ share. */
#pragma once

#include <protobuf-c/protobuf-c.h>

#include "base/err.h"
#include "base/str.h"

/* Unpacks one message whose text fields are all valid UTF-8. The caller frees it. */
MUST_USE int xds_unpack(ProtobufCMessage **out, const ProtobufCMessageDescriptor *type,
                        struct slice bytes, struct diag *why);
void xds_unpacked_free(ProtobufCMessage *m);
AUTO_DEFINE(xds_unpacked, ProtobufCMessage *, xds_unpacked_free);

/* Refuses what is outside 0..last: "decode error: unknown enumeration value N" (contract 5.4). */
MUST_USE int xds_enum(int32_t value, int32_t last, struct diag *why);
