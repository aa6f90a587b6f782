/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kinds of objects that a mesh is made of: what people call them, where the API has them, how
 * they look in a table, and what is asked of them before they are sent. Pure.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"
#include "kube/resource.h"

struct json;
struct row_column;

struct resource_kind {
    const char *kind; /* "AuthorizationPolicy" */
    const char *singular;
    const char *short_name;   /* "" = none */
    const char *api_versions; /* accepted ones, "a/v1|a/v1beta1"; the first is the resource's */
    struct kube_resource resource;
    const struct row_column *columns;                     /* behind NAMESPACE and NAME */
    void (*fill)(const struct json *o, struct json *row); /* NULL = no column of its own */
    /* What is wrong with it in its kind's own terms; NULL = nothing is looked at. */
    int (*check)(const struct json *o, struct diag *why);
};

/* By kind, singular, plural or short name, in any case, with or without ".group". NULL and why with a
 * guess. */
const struct resource_kind *resource_kind_find(const char *word, struct diag *why);
/* By what a manifest says. */
const struct resource_kind *resource_kind_of(const struct json *o, struct diag *why);

/* namespace, name, age_s and the kind's own. The caller's. */
struct json *resource_kind_row(const struct resource_kind *k, const struct json *o, int64_t now_s);
/* The columns of a table of it: with NAMESPACE or without; into room for ROW_COLUMNS_MAX. */
enum { RESOURCE_COLUMNS_MAX = 12 };
void resource_kind_columns(const struct resource_kind *k, bool with_namespace,
                           struct row_column *out);
