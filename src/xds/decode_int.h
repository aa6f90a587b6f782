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

struct arena;
/* Layer 7: a configured path with the escapes that requests have. And the version to hold a resource under: the control plane's, else its hash, so
 * that what comes again unchanged is known. */
const char *xds_l7_path(const char *path, struct arena *a);
const char *xds_l7_version(const char *version, struct slice bytes, struct arena *a);
