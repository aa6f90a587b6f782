/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kinds that the server knows, as data: names, versions, what may be done with them and what
 * their fields are. Built-in kinds behave as Kubernetes' own types, custom ones as kinds defined by
 * Istio's and the Gateway API's CustomResourceDefinitions do (the differences are many: generation,
 * patch types, answers to DELETE).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/str.h"
#include "codec/name.h"

struct admission;
struct column;
struct schema;

enum kind_flag {
    KIND_NAMESPACED = 1u << 0,
    KIND_CUSTOM = 1u << 1,
    KIND_STATUS = 1u << 2,       /* has /status, and the main path cannot write status */
    KIND_GENERATION = 1u << 3,   /* counts changes of what was asked for */
    KIND_SHOW_DELETED = 1u << 4, /* DELETE answers the object, not a Status */
    KIND_PUT_CREATES = 1u << 5,  /* PUT of an absent name creates it */
    KIND_INTERNAL = 1u << 6,     /* stored, never served */
    KIND_CREATE_ONLY = 1u << 7,  /* a question in the form of an object; nothing is stored */
};

enum { KIND_VERSIONS = 3, KIND_SELECTABLE = 9 };

struct kind {
    const char *group;                       /* "" = core */
    const char *versions[KIND_VERSIONS + 1]; /* preferred first, then NULL */
    const char *plural;
    const char *singular;
    const char *name;
    const char *short_names; /* comma list or NULL */
    const char *categories;  /* comma list or NULL */
    unsigned flags;
    enum name_rule name_rule;
    const char *schema;                          /* schema.h; NULL = anything */
    const char *selectable[KIND_SELECTABLE + 1]; /* dotted paths beside name and namespace */
    const struct column *columns;                /* NULL = name and age */
    /* Defaults and checks of this kind, after the general ones; NULL = none. */
    void (*admit)(struct admission *a);
};

extern const struct kind kind_list[];
extern const size_t kind_count;

/* NULL when there is none, or when it has no such version. version "" = any. */
const struct kind *kind_find(struct slice group, struct slice version, struct slice plural);
/* By its stored name "plural.group", internal ones included. */
const struct kind *kind_stored(const char *resource);
const struct kind *kind_named(const char *group, const char *name);
/* The registered spelling of the version. */
const char *kind_version(const struct kind *k, struct slice version);
/* The versions that any kind of the group has, the preferred first; out has room for
 * KIND_GROUP_VERSIONS. How many. */
enum { KIND_GROUP_VERSIONS = 8 };
size_t kind_group_versions(const char *group, const char **out);
size_t kind_index(const struct kind *k);
/* "security.istio.io/v1" or "v1" into out. */
void kind_api_version(const struct kind *k, const char *version, struct strbuf *out);
/* "pods" or "peerauthentications.security.istio.io" into out. */
void kind_resource(const struct kind *k, struct strbuf *out);

static inline bool kind_is(const struct kind *k, enum kind_flag flag)
{
    return (k->flags & flag) != 0;
}
