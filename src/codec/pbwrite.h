/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writing protobuf messages forwards, without a schema: scalars, texts, nested messages whose length
 * is filled in when they are closed. As proto3 has it, zero and empty values are left out; what must
 * stand although it is empty is opened and closed.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

void pb_put_varint(struct strbuf *out, uint64_t v);

void pb_put_number(struct strbuf *out, uint32_t field, uint64_t v);
void pb_put_bytes(struct strbuf *out, uint32_t field, const void *from, size_t len);
/* NULL and "" are left out. */
void pb_put_text(struct strbuf *out, uint32_t field, const char *text);
/* Also where it is empty: elements of a list, members of a oneof. */
void pb_put_element(struct strbuf *out, uint32_t field, const void *from, size_t len);

/* A nested message, or a packed list: everything written in between belongs to it. */
size_t pb_open(struct strbuf *out, uint32_t field);
void pb_close(struct strbuf *out, size_t opened);
