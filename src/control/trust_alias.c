/* SPDX-License-Identifier: Apache-2.0 */
#include "control/trust_alias.h"

#include <string.h>

#include "base/str.h"

size_t trust_alias_count(const struct mesh *m)
{
    size_t n = 0;

    while (m->aliases && m->aliases[n]) {
        n++;
    }
    return n;
}

/* The domain itself comes first. */
static const char *name_at(const struct mesh *m, size_t i)
{
    return i == 0 ? m->trust_domain : m->aliases[i - 1];
}

size_t trust_alias_expand(const struct mesh *m, const char *principal, const char **out,
                          struct arena *a)
{
    size_t names = trust_alias_count(m) + 1;
    struct slice domain;
    struct slice rest;
    size_t own = 0;
    size_t n = 0;

    if (!slice_cut(slice_of(principal), '/', &domain, &rest)) {
        return 0; /* as "*" is */
    }
    while (own < names && !slice_is(domain, name_at(m, own))) {
        own++;
    }
    for (size_t i = 0; own < names && i < names; i++) {
        if (i != own) {
            AUTO(strbuf) struct strbuf text = {0};
            strbuf_printf(&text, "%s/%.*s", name_at(m, i), (int)rest.len, rest.p);
            out[n++] = arena_text(a, strbuf_text(&text), text.len);
        }
    }
    return n;
}
