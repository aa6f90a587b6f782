/* SPDX-License-Identifier: Apache-2.0 */
/* The life of namespaces: what comes with a new one, and how one goes away with all that is in it. */
#pragma once

#include <stdint.h>

#include "base/err.h"

struct api;
struct call;
struct json;
struct object;

enum { NAMESPACE_SWEEP_CHANGES = 512 /* deletions a tick: the rest waits for the next one */ };

/* May something be created in it? 0, or the refusal (404, 403) is written. */
MUST_USE int namespace_admits(struct call *c, const char *ns, const char *name);
/* The service account "default", which every living namespace has. */
void namespace_furnish(struct api *a, const char *ns, int64_t now_s);
/* Deletes what is left in namespaces that are going away, and those that are empty. */
void namespace_sweep(struct api *a, int64_t now_s);
