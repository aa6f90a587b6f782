/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Server-side apply as pure functions: what somebody wants of an object is merged into it; what the
 * same manager wanted before and nobody wants any more goes; what another manager has set otherwise
 * is a conflict, unless it is forced.
 */
#pragma once

#include <stdbool.h>

struct json;
struct managed_by;
struct schema;

/* The object that comes out of applying config to nothing, managed fields included. The caller's. */
struct json *apply_create(const struct schema *s, const struct json *config,
                          const struct managed_by *by);
/* Exactly one of *out and *out_conflicts (a Status) is set; both are the caller's. */
void apply_merge(const struct schema *s, const struct json *old, const struct json *config,
                 const struct managed_by *by, bool force, struct json **out,
                 struct json **out_conflicts);
