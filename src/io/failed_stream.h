/* SPDX-License-Identifier: Apache-2.0 */
/* A stream that never was: every call answers one error. For makers of streams that may not fail. */
#pragma once

#include "io/stream.h"

/* code < 0; text is copied. */
struct stream *failed_stream_new(int code, const char *text);
