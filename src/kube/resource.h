/* SPDX-License-Identifier: Apache-2.0 */
/* Names of resource types and the paths under which an API server has them. Pure. */
#pragma once

#include <stdbool.h>

#include "base/str.h"

struct kube_resource { /* texts must outlive what is made of it; usually static */
    const char *group; /* "" = core */
    const char *version;
    const char *plural; /* "" = the document that names the kinds of this group and version */
    bool namespaced;
};

/* Appends /api/v1/namespaces/shop/pods/cart-1/status and the like. ns "" = all namespaces or none,
 * name "" = the collection, sub "" = the object itself; what they hold is escaped. */
void kube_resource_path(struct strbuf *out, const struct kube_resource *r, const char *ns,
                        const char *name, const char *sub);
