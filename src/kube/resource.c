/* SPDX-License-Identifier: Apache-2.0 */
#include "kube/resource.h"

#include "codec/url.h"

static void add_part(struct strbuf *out, const char *part)
{
    strbuf_putc(out, '/');
    url_encode(out, slice_of(part));
}

void kube_resource_path(struct strbuf *out, const struct kube_resource *r, const char *ns,
                        const char *name, const char *sub)
{
    if (r->group[0] == '\0') {
        strbuf_puts(out, "/api");
    } else {
        strbuf_puts(out, "/apis");
        add_part(out, r->group);
    }
    add_part(out, r->version);
    if (r->namespaced && ns[0] != '\0') {
        strbuf_puts(out, "/namespaces");
        add_part(out, ns);
    }
    if (r->plural[0] != '\0') {
        add_part(out, r->plural);
    }
    if (name[0] != '\0') {
        add_part(out, name);
    }
    if (sub[0] != '\0') {
        add_part(out, sub);
    }
}
