/* SPDX-License-Identifier: Apache-2.0 */
/* What client, server, call and status share. */
#pragma once

#include "rpc/grpc_call.h"

enum grpc_role { GRPC_CLIENT, GRPC_SERVER };

/* Takes x. limit_ms 0: no deadline. */
struct grpc_call *grpc_call_new(struct loop *l, struct exchange *take_x, enum grpc_role role,
                                uint32_t message_bytes, uint64_t limit_ms);

/* grpc_status.c */
void grpc_status_set(struct grpc_status *s, unsigned code, struct slice text);
/* From trailers, or from a response head that is all there is. */
void grpc_status_read(struct grpc_status *s, const struct message *m);
void grpc_status_put(struct message *m, unsigned code, const char *text);
unsigned grpc_code_of_http(unsigned status);
unsigned grpc_code_of_error(int why, uint32_t reset);
MUST_USE int grpc_timeout_parse(struct slice text, uint64_t *out_ms);
