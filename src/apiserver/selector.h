/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Label selectors and field selectors of lists and watches: parsed once a request, matched against
 * what an object keeps beside its text. Pure. Operators and messages are those of Kubernetes 1.35,
 * observed. != and notin also match an object without the key.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "base/str.h"

struct kind;
struct object;
struct selector;

enum {
    SELECTOR_TEXT = 16 << 10,
    SELECTOR_TERMS = 128, /* requirements and values together */
};

/* An empty text selects everything: *out is then NULL. Either kind of selector: the caller's. */
MUST_USE int selector_parse_labels(struct slice text, struct diag *why, struct selector **out);
/* Knows metadata.name, metadata.namespace and what kind->selectable names. */
MUST_USE int selector_parse_fields(const struct kind *kind, struct slice text, struct diag *why,
                                   struct selector **out);
void selector_free(struct selector *s);
/* s NULL: true. */
bool selector_matches(const struct selector *s, const struct object *o);
/* The one value that an object's field must have to match; NULL when the selector does not say so. */
const char *selector_wants(const struct selector *s, const char *field);

AUTO_DEFINE(selector, struct selector *, selector_free);
