/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One stored version of an object: immutable from the moment it exists, counted, one allocation.
 * It keeps the text that goes out on the wire and, beside it, the few values that lists and watches
 * select by, so that neither parses JSON. Counts belong to the loop thread; other threads may only
 * read what the loop holds a reference to.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/ref.h"
#include "base/str.h"

struct json;
struct kind;

struct pair {
    const char *key;
    const char *value;
};

struct object {
    struct ref ref;
    const struct kind *kind;
    uint64_t rv;
    const char *ns; /* "" for kinds without namespace */
    const char *name;
    const char *uid;
    /* The object without kind and apiVersion: {"metadata":...}. Those two depend on the version that
     * a client asks in, and items of a built-in list go without them. */
    struct slice text;
    const struct pair *labels;
    size_t label_count;
    const char *const *fields; /* values of kind->selectable, in its order */
    size_t size;               /* of the whole allocation */
};

/* body is the whole object, metadata filled in; borrowed. rv must be the one in it. */
struct object *object_new(const struct kind *kind, uint64_t rv, const struct json *body);
/* The same; NULL: its text would have more than limit bytes. */
struct object *object_new_within(const struct kind *kind, uint64_t rv, const struct json *body,
                                 size_t limit);
/* From text as object->text has it: what the disk gave back. -ERR_SYNTAX. */
MUST_USE int object_load(const struct kind *kind, uint64_t rv, struct slice text,
                         struct object **out);
struct object *object_ref(struct object *o);
struct object *object_unref(struct object *o); /* accepts NULL, returns NULL */
/* The parsed object with kind and apiVersion of the version asked for; the caller's. NULL: no memory. */
struct json *object_parse(const struct object *o, const char *version);

/* Namespace, then name: the order of lists. */
int object_compare(const struct object *o, const char *ns, const char *name);
/* "" when there is no such label. */
const char *object_label(const struct object *o, const char *key);

static inline void object_release(struct object *o)
{
    object_unref(o);
}
AUTO_DEFINE(object, struct object *, object_release);
