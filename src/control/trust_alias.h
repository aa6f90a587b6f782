/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Other names of the mesh's trust domain, as while it is being renamed: a policy's principal in one of
 * them means that account under each of them.
 */
#pragma once

#include <stddef.h>

#include "base/arena.h"
#include "control/mesh.h"

/* 0 without aliases. */
size_t trust_alias_count(const struct mesh *m);
/* Under the other names, without the principal itself: into out, at most trust_alias_count of them. */
size_t trust_alias_expand(const struct mesh *m, const char *principal, const char **out,
                          struct arena *a);
