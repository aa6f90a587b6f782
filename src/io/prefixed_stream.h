/* SPDX-License-Identifier: Apache-2.0 */
/* A stream that was read from before its reader was known: what was taken comes first. */
#pragma once

#include "base/bytes.h"
#include "io/stream.h"

/* Takes below, and what prefix holds (it is empty afterwards). */
struct stream *prefixed_stream_new(struct stream *take_below, struct bytes *take_prefix);
