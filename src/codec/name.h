/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How Kubernetes limits names of objects, and keys and values of labels. Each question answers NULL
 * when the text is fine, else the sentence in which Kubernetes says what it must be.
 */
#pragma once

enum name_rule {
    NAME_SUBDOMAIN,    /* RFC 1123: most objects */
    NAME_LABEL,        /* RFC 1123: what becomes one part of a host's name */
    NAME_LABEL_1035,   /* RFC 1035: that, a letter first */
    NAME_PATH_SEGMENT, /* whatever can stand in a URL */
};

const char *name_problem(enum name_rule rule, const char *name);
/* [prefix/]name, of labels, annotations and finalizers. */
const char *name_key_problem(const char *key);
const char *name_value_problem(const char *value); /* of a label */
