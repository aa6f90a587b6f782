/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/kind.h"

#include <string.h>

const char *kind_version(const struct kind *k, struct slice version)
{
    for (int i = 0; k->versions[i]; i++) {
        if (slice_is(version, k->versions[i])) {
            return k->versions[i];
        }
    }
    return NULL;
}

const struct kind *kind_find(struct slice group, struct slice version, struct slice plural)
{
    for (size_t i = 0; i < kind_count; i++) {
        const struct kind *k = &kind_list[i];
        if (slice_is(plural, k->plural) && slice_is(group, k->group) &&
            !kind_is(k, KIND_INTERNAL) && (version.len == 0 || kind_version(k, version))) {
            return k;
        }
    }
    return NULL;
}

const struct kind *kind_stored(const char *resource)
{
    struct slice plural;
    struct slice group;

    (void)slice_cut(slice_of(resource), '.', &plural, &group); /* no dot: the core group */
    for (size_t i = 0; i < kind_count; i++) {
        if (slice_is(plural, kind_list[i].plural) && slice_is(group, kind_list[i].group)) {
            return &kind_list[i];
        }
    }
    return NULL;
}

const struct kind *kind_named(const char *group, const char *name)
{
    for (size_t i = 0; i < kind_count; i++) {
        if (strcmp(kind_list[i].name, name) == 0 && strcmp(kind_list[i].group, group) == 0) {
            return &kind_list[i];
        }
    }
    return NULL;
}

static bool has_version(const char *const *list, size_t n, const char *version)
{
    for (size_t i = 0; i < n; i++) {
        if (strcmp(list[i], version) == 0) {
            return true;
        }
    }
    return false;
}

size_t kind_group_versions(const char *group, const char **out)
{
    size_t n = 0;

    for (size_t i = 0; i < kind_count; i++) {
        const struct kind *k = &kind_list[i];
        if (strcmp(k->group, group) != 0 || kind_is(k, KIND_INTERNAL)) {
            continue;
        }
        for (size_t v = 0; k->versions[v] && n < KIND_GROUP_VERSIONS; v++) {
            if (!has_version(out, n, k->versions[v])) {
                out[n++] = k->versions[v];
            }
        }
    }
    return n;
}

size_t kind_index(const struct kind *k)
{
    return (size_t)(k - kind_list);
}

void kind_api_version(const struct kind *k, const char *version, struct strbuf *out)
{
    if (k->group[0] != '\0') {
        strbuf_puts(out, k->group);
        strbuf_putc(out, '/');
    }
    strbuf_puts(out, version);
}

void kind_resource(const struct kind *k, struct strbuf *out)
{
    strbuf_puts(out, k->plural);
    if (k->group[0] != '\0') {
        strbuf_putc(out, '.');
        strbuf_puts(out, k->group);
    }
}
