/* SPDX-License-Identifier: Apache-2.0 */
/* metadata.managedFields: who has set which fields, so that server-side apply can find conflicts. */
#pragma once

#include <stdint.h>

#include "base/str.h"

struct json;
struct schema;

enum { MANAGERS_MAX = 24 /* entries of one object; the oldest beyond that is forgotten */ };

struct managed_by {
    const char *manager; /* "": named after the user agent */
    struct slice user_agent;
    const char *subresource; /* "" = none */
    int64_t now_s;
};

/* After a create (old NULL) or an update: what changed now belongs to this manager. */
void managed_update(const struct schema *s, const struct json *old, struct json *object,
                    const struct managed_by *by);
/* The fields of an object that can have a manager: not its identity, not what only the server sets. */
struct json *managed_subject(const struct json *object);

/* The entry of a manager, or NULL; operation is "Apply" or "Update". Borrowed. */
struct json *managed_find(const struct json *entries, const char *operation,
                          const struct managed_by *by);
/* Puts set into the manager's entry (an empty one goes); takes it. */
void managed_put(struct json *entries, const char *operation, const char *api_version,
                 const struct managed_by *by, struct json *take_set);
