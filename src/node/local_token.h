/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The token of a waypoint's account (audience istio-ca, bound to its pod): asked of the API, written
 * to RUN_DIR/secrets/UID/token, and replaced there when half of its life is over. The file is root's
 * and can be read by the waypoint's own group alone, so that it cannot be read by another waypoint nor
 * changed by this one. Lives on the agent's loop; its owner is woken with WAKE_CHILD once it is there.
 */
#pragma once

#include <stdbool.h>

#include "base/err.h"

struct local_env;
struct local_record;
struct local_token;
struct strbuf;
struct task;

#define LOCAL_TOKEN_FILE "token"

/* record has its uid and outlives it. */
struct local_token *local_token_new(const struct local_env *env, const struct local_record *record,
                                    struct task *owner);
/* The file stays. */
void local_token_free(struct local_token *t);
/* One has been written. */
bool local_token_is_there(const struct local_token *t);
/* Why the last attempt failed; code 0 if it did not. */
const struct diag *local_token_trouble(const struct local_token *t);

/* RUN_DIR/secrets/UID/token. -ERR_SYNTAX as local_record_secrets. */
MUST_USE int local_token_path(const struct local_record *r, struct strbuf *out);
/* Takes folder and file away; fine if they are not there. */
MUST_USE int local_token_remove_blocking(const struct local_record *r, struct diag *why);
