/* SPDX-License-Identifier: Apache-2.0 */
/* What the specs of layer 7 lay out alike. Every text in a made spec is there, "" for none. */
#pragma once

#include <stdbool.h>

#include "base/ascii.h"
#include "base/str.h"
#include "model/pack_int.h"

static inline const char *pack_lower(struct pack *p, const char *s)
{
    size_t len = s ? strlen(s) : 0;
    char *to = pack_room(p, len + 1, 1);

    for (size_t i = 0; to && i < len; i++) {
        to[i] = ascii_lower(s[i]);
    }
    if (to) {
        to[len] = '\0';
    }
    return to;
}

/* "ns/name" */
static inline const char *pack_key(struct pack *p, const char *ns, const char *name)
{
    size_t ns_len = ns ? strlen(ns) : 0;
    size_t name_len = name ? strlen(name) : 0;
    char *to = pack_room(p, ns_len + name_len + 2, 1);

    if (to) {
        memcpy(to, ns ? ns : "", ns_len);
        to[ns_len] = '/';
        memcpy(to + ns_len + 1, name ? name : "", name_len);
        to[ns_len + 1 + name_len] = '\0';
    }
    return to;
}

static inline const char *const *pack_texts(struct pack *p, const char *const *from, size_t count)
{
    const char **to = pack_room(p, count * sizeof(*to), _Alignof(const char *));

    for (size_t i = 0; i < count; i++) {
        const char *text = pack_text(p, from[i]);
        if (to) {
            to[i] = text;
        }
    }
    return to;
}

static inline bool text_is_empty(const char *s)
{
    return !s || *s == '\0';
}
